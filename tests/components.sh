#!/bin/sh
# Install the programs that the tests need, if that is possible without a password; else list them.
set -u

missing=""
need() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || missing="$missing $2"; }
need nginx nginx-light
[ -e /usr/lib/nginx/modules/ngx_http_js_module.so ] || missing="$missing libnginx-mod-http-js"
need ffmpeg ffmpeg
need chromium chromium
need vlc "vlc-bin vlc-plugin-base"
need node nodejs
need npm npm
need redis-server redis-server
need systemd-analyze systemd
need prometheus prometheus
need caddy caddy
need wrk wrk
need faketime faketime
need buildah buildah
need mmdebstrap mmdebstrap

if [ -n "$missing" ]; then
  if [ "$(id -u)" = 0 ]; then root=""; else root="sudo -n"; fi
  if command -v apt-get >/dev/null 2>&1 && $root true 2>/dev/null; then
    echo "About to install from Debian, with apt-get:$missing"
    $root apt-get update -qq
    # RUNLEVEL=1 keeps services from starting, since the tests run their own nginx
    $root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
      apt-get install -y -qq --no-install-recommends $missing >/dev/null
  else
    echo "These programs are missing, so the tests that need them are skipped. To install them: apt-get install$missing"
  fi
fi

if command -v npm >/dev/null 2>&1 && ! cmp -s npm/package-lock.json npm/node_modules/.installed; then
  echo "About to install players and JWT libraries from npm, into npm/node_modules"
  npm ci --prefix npm --ignore-scripts --no-audit --no-fund >/dev/null &&
    cp npm/package-lock.json npm/node_modules/.installed
fi
exit 0
