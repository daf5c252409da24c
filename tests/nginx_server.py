"""Run a real nginx with deploy/nginx.conf; only addresses, folders and the user differ."""

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from certificates import certify
from ports import free_port
from support import ROOT, wait_until

CONF = ROOT / "deploy" / "nginx.conf"
MEDIA = ROOT / "proxy" / "sandbox" / "media" / "vod_180"
GUARD = {"auth": {"protected_paths": ["/hls/(?P<video>[^/]+)/.+", r"/play/(?P<video>[^/]+)\.m3u8"]}}
BEHIND = {"viewer": {"trusted_proxies": ["127.0.0.1"]}, **GUARD}


@dataclass(slots=True)
class Nginx:
    """A running nginx: its port, its logs, and methods that send requests."""

    port: int
    folder: Path

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def access_log(self) -> str:
        return (self.folder / "access.log").read_text()

    @property
    def error_log(self) -> str:
        return (self.folder / "error.log").read_text()

    async def send(self, raw: bytes) -> tuple[int, bytes]:
        """Send raw bytes; return the status (0 without a response) and all bytes received."""
        received = await send_raw(self.port, raw)
        return int(received.split(b" ", 2)[1]) if received else 0, received

    async def request(self, path: str, *lines: str, method: str = "GET") -> tuple[int, bytes]:
        """Send a request with additional header lines; return as `send` does."""
        headers = [
            f"{method} {path} HTTP/1.1",
            "Host: play.example.com",
            "Connection: close",
            *lines,
        ]
        return await self.send("\r\n".join([*headers, "", ""]).encode("latin-1"))


async def send_raw(port: int, raw: bytes) -> bytes:
    """Send raw bytes to a local port; return all bytes received until the connection closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(raw)
    async with asyncio.timeout(20):
        received = await reader.read()
    writer.close()
    await writer.wait_closed()
    return received


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where nginx relays segments from: a host, a name server for it, and the CA to trust."""

    host: str
    resolver: str
    authority: Path


def pick_address(listeners: Sequence[int | str], n: int) -> str:
    """Return the address of the nth listener; the last one stands in for missing ones."""
    listener = listeners[min(n, len(listeners) - 1)]
    return f"127.0.0.1:{listener}" if isinstance(listener, int) else listener


def set_addresses(players: Sequence[int | str], operators: Sequence[int]) -> str:
    """Return deploy/nginx.conf with the addresses of these edges."""
    return replace_all(
        CONF.read_text(),
        {
            **{
                f"unix:/run/playgate/{8081 + n}/player.sock": pick_address(players, n)
                for n in range(3)
            },
            **{f"127.0.0.1:{8081 + n} ": f"{pick_address(operators, n)} " for n in range(3)},
        },
    )  # fmt: skip


def replace_all(text: str, changes: Mapping[str, str]) -> str:
    """Return a text with replacements; each text to replace must occur."""
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def set_port_and_folders(
    text: str, folder: Path, port: int, upstream: Upstream | None = None
) -> str:
    """Return a configuration that listens on `port` and keeps its files in `folder`."""
    if upstream is None:
        upstream = Upstream("nowhere.invalid", "127.0.0.1", certify(folder, "nowhere.invalid")[0])
    changes = {
        "/var/log/nginx": str(folder),
        "/run/nginx.pid": str(folder / "nginx.pid"),
        "/var/www": str(folder / "www"),
        "/var/lib/nginx/playgate": str(folder / "cache"),
        "/etc/nginx/relay_headers.js": str(CONF.parent / "relay_headers.js"),
        "127.0.0.53": upstream.resolver,
        "/etc/ssl/certs/ca-certificates.crt": str(upstream.authority),
        r"(?:[a-z0-9-]+\.)*(?:dailymotion\.com|dmcdn\.net)": re.escape(upstream.host),
        "listen 80;": f"listen 127.0.0.1:{port};",
        "user www-data;": "user root;" if os.geteuid() == 0 else "",
        "worker_processes auto;": "worker_processes 1;",
        "http {": "http {" + "".join(
            f"\n    {name}_temp_path {folder}/{name};"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        ),
    }  # fmt: skip
    return replace_all(text, changes)


@asynccontextmanager
async def run_deployed_nginx(
    program: str,
    folder: Path,
    players: Sequence[int | str],
    operators: Sequence[int],
    upstream: Upstream | None = None,
) -> AsyncIterator[Nginx]:
    """Run nginx with deploy/nginx.conf in front of edges."""
    text = set_addresses(players, operators)
    async with run_nginx_process(program, folder, text, upstream) as nginx:
        yield nginx


@asynccontextmanager
async def run_nginx_process(
    program: str, folder: Path, text: str, upstream: Upstream | None = None
) -> AsyncIterator[Nginx]:
    """Run nginx with a configuration whose port and folders are replaced."""
    nginx = Nginx(free_port(), folder)
    shutil.copytree(MEDIA, folder / "www" / "hls" / "x8abcd", dirs_exist_ok=True)
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:2", "#EXT-X-PLAYLIST-TYPE:VOD"]
    lines += [line for n in range(6) for line in ("#EXTINF:2.0,", f"{n}.ts")]
    (folder / "www/hls/x8abcd/index.m3u8").write_text("\n".join([*lines, "#EXT-X-ENDLIST", ""]))
    (folder / "nginx.conf").write_text(set_port_and_folders(text, folder, nginx.port, upstream))
    with (folder / "stderr").open("w") as stderr:
        process = subprocess.Popen(  # noqa: ASYNC220  # before the event loop has other work
            [program, "-c", folder / "nginx.conf", "-p", folder, "-g", "daemon off;"], stderr=stderr
        )

    async def is_serving() -> bool:
        assert process.poll() is None, (folder / "stderr").read_text()
        try:
            status, _ = await nginx.request("/elsewhere")  # nginx responds without an edge
        except OSError:
            return False
        return status == 404

    try:
        await wait_until(is_serving)
        yield nginx
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 20)
