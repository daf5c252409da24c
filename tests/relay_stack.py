"""nginx in front of two edges, each a process of its own, and a sandbox CDN on https."""

import asyncio
import re
import ssl
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import aiohttp
from certificates import certify
from nginx_server import Nginx, Upstream, an_nginx
from processes import EdgeProcess, in_front_of
from support import SANDBOX_TOML

from proxy.adapters.clock import Clock
from proxy.edge.token_minter import TokenMinter
from proxy.sandbox.server import run_sandbox
from proxy.sandbox.state import Sandbox
from proxy.settings import load_settings


class NameServer(asyncio.DatagramProtocol):
    """Answers every question for an A record with 127.0.0.1."""

    def connection_made(self, transport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr) -> None:
        answer = struct.pack("!HHHLH4s", 0xC00C, 1, 1, 5, 4, b"\x7f\0\0\1")
        self.transport.sendto(data[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + data[12:] + answer, addr)


@dataclass(slots=True)
class Relayed:
    """nginx, an edge behind it as a process of its own, and a sandbox CDN on https."""

    nginx: Nginx
    sandbox: Sandbox
    edges: list[EdgeProcess]
    session: aiohttp.ClientSession

    def play_url(self, video: str = "x8demo1", **options: Any) -> str:
        settings = load_settings(SANDBOX_TOML)
        minting = TokenMinter(settings, Clock())
        token = minting.mint(video=video, **options).token
        return f"{self.nginx.origin}/play/{video}.m3u8?token={token}"

    async def get(self, path: str, **options) -> tuple[int, bytes, dict[str, str]]:
        method = options.pop("method", "GET")
        async with self.session.request(method, f"{self.nginx.origin}{path}", **options) as answer:
            return answer.status, await answer.read(), answer.headers

    async def segments(self, video: str = "x8demo1") -> list[str]:
        async with self.session.get(self.play_url(video)) as answer:
            first = uris(await answer.read())[0]
        status, body, _ = await self.get(first)
        assert status == 200
        return uris(body)

    async def metric(self, name: str) -> float:
        """Return a metric's sum over both edges."""
        total = 0.0
        for edge in self.edges:
            async with self.session.get(f"http://127.0.0.1:{edge.operator}/metrics") as answer:
                text = await answer.text()
            total += sum(map(float, re.findall(rf"^{name}(?:{{.*}})? (.+)$", text, re.MULTILINE)))
        return total


def uris(body: bytes) -> list[str]:
    return re.findall(r"/relay/[^\s\"#]+", body.decode())


@asynccontextmanager
async def relaying(
    program: str,
    folder: Path,
    *,
    trusts: Path | None = None,
    knows: str = "",
    settings: Mapping[str, str] = MappingProxyType({}),
) -> AsyncIterator[Relayed]:
    authority, chain = certify(folder, "localhost")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(chain)
    async with AsyncExitStack() as stack:
        sandbox = await stack.enter_async_context(run_sandbox(Sandbox(), tls=tls))
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            NameServer, local_addr=("127.0.0.1", 0)
        )
        stack.callback(transport.close)
        host = sandbox.origin.removeprefix("https://")
        env = {
            "SSL_CERT_FILE": str(authority),
            "PLAYGATE_VIEWER__TRUSTED_PROXIES": '["127.0.0.1"]',
            **in_front_of(sandbox),
            "PLAYGATE_DELIVERY__MODE": "relay",
            **settings,
        }
        edges = [EdgeProcess(env), EdgeProcess(env)]
        for edge in edges:
            stack.push_async_callback(edge.close)
            await edge.start()
        resolver = f"127.0.0.1:{transport.get_extra_info('sockname')[1]}"
        nginx = await stack.enter_async_context(
            an_nginx(
                program,
                folder,
                [e.player for e in edges],
                [e.operator for e in edges],
                Upstream(knows or host, resolver, trusts or authority),
            )
        )
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield Relayed(nginx, sandbox, edges, session)
