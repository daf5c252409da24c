"""nginx in front of two edge processes that relay from a sandbox CDN on https."""

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
from urllib.parse import urljoin, urlsplit

import aiohttp
from certificates import certify
from nginx_server import Nginx, Upstream, run_deployed_nginx
from processes import EdgeProcess, build_edge_environment
from support import SANDBOX_TOML

from proxy.adapters.clock import Clock
from proxy.edge.token_minter import TokenMinter
from proxy.sandbox.server import run_sandbox
from proxy.sandbox.state import Sandbox
from proxy.settings import load_settings


class NameServer(asyncio.DatagramProtocol):
    """Resolves every name to 127.0.0.1."""

    def connection_made(self, transport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr) -> None:
        record = struct.pack("!HHHLH4s", 0xC00C, 1, 1, 5, 4, b"\x7f\0\0\1")
        self.transport.sendto(data[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + data[12:] + record, addr)


@dataclass(slots=True)
class Relayed:
    """nginx, the edge processes behind it, and a sandbox CDN on https."""

    nginx: Nginx
    sandbox: Sandbox
    edges: list[EdgeProcess]
    session: aiohttp.ClientSession

    def play_url(self, video: str = "x8demo1", **options: Any) -> str:
        settings = load_settings(SANDBOX_TOML)
        minter = TokenMinter(settings, Clock())
        token = minter.mint(video=video, **options).token
        return f"{self.nginx.origin}/play/{video}.m3u8?token={token}"

    async def get(self, path: str, **options) -> tuple[int, bytes, dict[str, str]]:
        method = options.pop("method", "GET")
        async with self.session.request(
            method, f"{self.nginx.origin}{path}", **options
        ) as response:
            return response.status, await response.read(), response.headers

    async def fetch_segment_paths(self, video: str = "x8demo1") -> list[str]:
        """Start a relayed session; return the paths in its first media playlist."""
        async with self.session.get(self.play_url(video)) as response:
            media_playlist = find_relay_paths(await response.read())[0]
        status, body, _ = await self.get(media_playlist)
        assert status == 200
        return find_relay_paths(body, media_playlist)

    async def metric(self, name: str) -> float:
        """Return the sum of a metric over all its series on both edges."""
        total = 0.0
        for edge in self.edges:
            async with self.session.get(f"http://127.0.0.1:{edge.operator}/metrics") as response:
                text = await response.text()
            total += sum(map(float, re.findall(rf"^{name}(?:{{.*}})? (.+)$", text, re.MULTILINE)))
        return total


REFERENCE = re.compile(
    r"^(?!#)(\S+)|(?:URI|X-ASSET-LIST)=\"(?!data:|skd:|urn:)([^\"]+)", re.MULTILINE
)


def find_relay_paths(body: bytes, playlist: str = "") -> list[str]:
    """Return the relay URLs that a playlist contains, in order, without host and fragment.

    Args:
        body: the playlist.
        playlist: its own path; not needed for the first playlist of a session.
    """
    references = (uri or attribute for uri, attribute in REFERENCE.findall(body.decode()))
    paths = [urlsplit(urljoin(playlist, reference)).path for reference in references]
    assert all(path.startswith("/relay/") for path in paths), paths
    return paths


@asynccontextmanager
async def run_relay_stack(
    program: str,
    folder: Path,
    *,
    trusts: Path | None = None,
    knows: str = "",
    settings: Mapping[str, str] = MappingProxyType({}),
) -> AsyncIterator[Relayed]:
    """Run nginx, two relaying edges and a sandbox CDN.

    Args:
        program: The nginx executable.
        folder: Where nginx writes its files.
        trusts: The CA certificates that nginx trusts; by default, the CDN's own CA.
        knows: The host that nginx may relay from; by default, the CDN's host.
        settings: Additional environment variables of the edges.
    """
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
            **build_edge_environment(sandbox),
            "PLAYGATE_DELIVERY__MODE": "relay",
            **settings,
        }
        edges = [EdgeProcess(env), EdgeProcess(env)]
        for edge in edges:
            stack.push_async_callback(edge.close)
            await edge.start()
        resolver = f"127.0.0.1:{transport.get_extra_info('sockname')[1]}"
        nginx = await stack.enter_async_context(
            run_deployed_nginx(
                program,
                folder,
                [edge.player for edge in edges],
                [edge.operator for edge in edges],
                Upstream(knows or host, resolver, trusts or authority),
            )
        )
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield Relayed(nginx, sandbox, edges, session)
