"""Run a real Caddy with deploy/Caddyfile; only addresses and folders differ."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from nginx_server import MEDIA, replace_all, send_raw
from ports import free_port
from processes import Process, run_process
from support import ROOT, wait_until
from yarl import URL

CADDYFILE = ROOT / "deploy" / "Caddyfile"


@dataclass(slots=True)
class Caddy:
    """A running Caddy: its port, its log, and methods that send requests."""

    port: int
    process: Process
    session: aiohttp.ClientSession

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return self.process.output

    async def request(self, path: str, method: str = "GET", **headers: str) -> "CaddyResponse":
        """Send a request; `X_Name="…"` sends the header `X-Name`."""
        header_fields = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.request(
            method,
            URL(self.origin + path, encoded=True),
            headers=header_fields,
            allow_redirects=False,
        ) as response:
            return CaddyResponse(response.status, response.headers, await response.read())

    async def send(self, raw: bytes) -> bytes:
        """Send raw bytes; return all bytes received."""
        return await send_raw(self.port, raw)


@dataclass(frozen=True, slots=True)
class CaddyResponse:
    status: int
    headers: aiohttp.typedefs.CIMultiDictProxy[str]
    body: bytes

    @property
    def reason(self) -> str | None:
        return self.headers.get("X-Deny-Reason")


def set_addresses(player: str, operator: str) -> str:
    """Return deploy/Caddyfile with the addresses of an edge's two ports."""
    sockets = " ".join(f"unix//run/playgate/{n}/player.sock" for n in (8081, 8082, 8083))
    ports = " ".join(f"127.0.0.1:{n}" for n in (8081, 8082, 8083))
    text = replace_all(CADDYFILE.read_text(), {sockets: player, ports: operator})
    return replace_all(text, {"\n{\n": "\n{\n\tadmin off\n"})


@asynccontextmanager
async def run_caddy(
    program: str, folder: Path, player: str, operator: str, *, text: str | None = None
) -> AsyncIterator[Caddy]:
    """Run Caddy in front of an edge, with the Caddyfile `text` or else deploy/Caddyfile."""
    files = folder / "www" / "hls" / "x8abcd"
    files.mkdir(parents=True)
    (files / "index.m3u8").write_text("#EXTM3U\n#EXTINF:2,\n0.ts\n#EXT-X-ENDLIST\n")
    (files / "0.ts").write_bytes((MEDIA / "0.ts").read_bytes())
    (folder / "www" / "secret").write_text("nobody's")
    port = free_port()
    text = replace_all(
        text or set_addresses(player, operator),
        {
            "play.example.com {": f"http://127.0.0.1:{port} {{\n\tbind 127.0.0.1",
            "/var/www": str(folder / "www"),
        },
    )
    (folder / "Caddyfile").write_text(
        text if "admin off" in text else f"{{\n\tadmin off\n}}\n{text}"
    )
    command = [program, "run", "--config", folder / "Caddyfile", "--adapter", "caddyfile"]
    home = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    async with (
        run_process(*command, env=home) as process,
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
    ):
        caddy = Caddy(port, process, session)

        async def is_serving() -> bool:
            assert process.process.returncode is None, caddy.log
            try:
                await caddy.request("/elsewhere")
            except aiohttp.ClientError:
                return False
            return True

        await wait_until(is_serving)
        yield caddy
