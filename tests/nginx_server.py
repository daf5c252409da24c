"""Real nginx with deploy/nginx.conf: only addresses, folders and the user are substituted."""

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
from support import ROOT, eventually

CONF = ROOT / "deploy" / "nginx.conf"
MEDIA = ROOT / "proxy" / "sandbox" / "media" / "vod_180"
GUARD = {"auth": {"protected_paths": ["/hls/(?P<video>[^/]+)/.+", r"/play/(?P<video>[^/]+)\.m3u8"]}}
BEHIND = {"viewer": {"trusted_proxies": ["127.0.0.1"]}, **GUARD}


@dataclass(slots=True)
class Nginx:
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
        """Send bytes as they are; return the status and everything that came back."""
        answer = await send_raw(self.port, raw)
        return int(answer.split(b" ", 2)[1]) if answer else 0, answer

    async def ask(self, path: str, *lines: str, method: str = "GET") -> tuple[int, bytes]:
        head = [f"{method} {path} HTTP/1.1", "Host: play.example.com", "Connection: close", *lines]
        return await self.send("\r\n".join([*head, "", ""]).encode("latin-1"))


async def send_raw(port: int, raw: bytes) -> bytes:
    """Send bytes to a port of this machine; return everything that came back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(raw)
    async with asyncio.timeout(20):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@dataclass(frozen=True, slots=True)
class Upstream:
    """What (c) relays from in a test: a host on this machine, its name server, its authority."""

    host: str
    resolver: str
    authority: Path


def nth(listeners: Sequence[int | str], n: int) -> str:
    """Return where one listens; where there are fewer, the last one stands for the others."""
    listener = listeners[min(n, len(listeners) - 1)]
    return f"127.0.0.1:{listener}" if isinstance(listener, int) else listener


def addressed(players: Sequence[int | str], operators: Sequence[int]) -> str:
    """Return deploy/nginx.conf for edges that listen there."""
    return replaced(
        CONF.read_text(),
        {
            **{
                f"unix:/run/playgate/{8081 + n}/player.sock": nth(players, n)
                for n in range(3)
            },
            **{f"127.0.0.1:{8081 + n} ": f"{nth(operators, n)} " for n in range(3)},
        },
    )  # fmt: skip


def replaced(text: str, changes: Mapping[str, str]) -> str:
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def placed(text: str, folder: Path, port: int, upstream: Upstream | None = None) -> str:
    """Return a configuration that listens on this port, and has its files in a folder."""
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
    return replaced(text, changes)


@asynccontextmanager
async def an_nginx(
    program: str,
    folder: Path,
    players: Sequence[int | str],
    operators: Sequence[int],
    upstream: Upstream | None = None,
) -> AsyncIterator[Nginx]:
    text = addressed(players, operators)
    async with running_nginx(program, folder, text, upstream) as nginx:
        yield nginx


@asynccontextmanager
async def running_nginx(
    program: str, folder: Path, text: str, upstream: Upstream | None = None
) -> AsyncIterator[Nginx]:
    """Run an nginx with a configuration, but for its port and its folders."""
    nginx = Nginx(free_port(), folder)
    shutil.copytree(MEDIA, folder / "www" / "hls" / "x8abcd", dirs_exist_ok=True)
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:2", "#EXT-X-PLAYLIST-TYPE:VOD"]
    lines += [line for n in range(6) for line in ("#EXTINF:2.0,", f"{n}.ts")]
    (folder / "www/hls/x8abcd/index.m3u8").write_text("\n".join([*lines, "#EXT-X-ENDLIST", ""]))
    (folder / "nginx.conf").write_text(placed(text, folder, nginx.port, upstream))
    with (folder / "stderr").open("w") as stderr:
        process = subprocess.Popen(  # noqa: ASYNC220  # started once, before anything is served
            [program, "-c", folder / "nginx.conf", "-p", folder, "-g", "daemon off;"], stderr=stderr
        )

    async def answers() -> bool:
        assert process.poll() is None, (folder / "stderr").read_text()
        try:
            return (await nginx.ask("/elsewhere"))[0] == 404  # its own answer, without an edge
        except OSError:
            return False

    try:
        await eventually(answers)
        yield nginx
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 20)
