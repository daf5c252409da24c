"""The CDN client: allowed hosts, private addresses, redirects and retries."""

import asyncio
import socket
from contextlib import asynccontextmanager, suppress

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from faults.wire import reset
from support import serve_app
from yarl import URL

from proxy.adapters.dailymotion.cdn import Cdn
from proxy.adapters.dailymotion.cdn_session import open_cdn_session
from proxy.adapters.telemetry import build_telemetry
from proxy.domain.allowed_hosts import AllowedHosts
from proxy.domain.reasons import Refusal


@asynccontextmanager
async def open_cdn(
    *,
    private_addresses: bool,
    family: socket.AddressFamily = socket.AF_INET,
    hosts=("localhost", "127.0.0.1"),
):
    """Yield a CDN client, the port of a server with one playlist, its requests, and the session."""
    requests: list[str] = []

    async def send_playlist(request: web.Request) -> web.Response:
        requests.append(str(request.remote))
        return web.Response(body=b"#EXTM3U\n", content_type="audio/mpegurl")

    app = web.Application()
    app.router.add_get("/a.m3u8", send_playlist)
    async with (
        serve_app(app) as origin,
        open_cdn_session(family, private_addresses=private_addresses) as session,
    ):
        port = URL(origin).port
        cdn = Cdn(
            session, session, AllowedHosts([f"{host}:{port}" for host in hosts], plain_http=True), build_telemetry(),
            attempt_timeout=2,
        )  # fmt: skip
        yield cdn, port, requests, session


KEPT_CONNECTIONS = 3  # aiohttp itself tries two of them


def reset_connection(writer: asyncio.StreamWriter) -> None:
    reset(writer.get_extra_info("socket"))
    writer.transport.abort()


class FixedResolver(AbstractResolver):
    """Resolves every name to the addresses that an attacker chose."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: int = socket.AF_INET,  # noqa: ARG002  # ignored on purpose
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host, host=address, port=port, proto=0, flags=socket.AI_NUMERICHOST,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
            )
            for address in self.addresses
        ]  # fmt: skip

    async def close(self) -> None: ...


async def test_a_fetched_playlist_has_its_body_content_type_and_url():
    async with open_cdn(private_addresses=True) as (cdn, port, _, _):
        received = await cdn.fetch_playlist(f"http://localhost:{port}/a.m3u8")

    assert (received.body, received.content_type) == (b"#EXTM3U\n", "audio/mpegurl")
    assert received.url == f"http://localhost:{port}/a.m3u8"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_host_with_a_private_address_is_refused_without_connecting(host):
    async with open_cdn(private_addresses=False) as (cdn, port, requests, _):
        with pytest.raises(
            Refusal, match=r"stream-host-not-allowed: .* resolves to a private address"
        ):
            await cdn.fetch_playlist(f"http://{host}:{port}/a.m3u8")
        with pytest.raises(Refusal, match="stream-host-not-allowed"):
            async with cdn.open("GET", f"http://{host}:{port}/a.m3u8", {}):
                pass

    assert requests == []


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"], ["10.0.0.1"], ["169.254.169.254"], ["192.168.1.1"], ["100.64.0.1"], ["0.0.0.0"],
        ["224.0.0.1"], ["127.0.0.1", "10.0.0.1"],
    ],
)  # fmt: skip
async def test_an_allowed_name_that_resolves_to_a_private_address_is_refused(addresses):
    """The address is checked when the connection is opened, so DNS rebinding does not help."""
    async with open_cdn(private_addresses=False, hosts=("rebound.example",)) as (
        cdn,
        port,
        requests,
        session,
    ):
        session.connector._resolver = FixedResolver(*addresses)  # noqa: SLF001  # the attack
        with pytest.raises(Refusal) as refusal:
            await cdn.fetch_playlist(f"http://rebound.example:{port}/a.m3u8")

    assert refusal.value.reason == "stream-host-not-allowed"
    assert requests == []


@pytest.mark.parametrize(
    "address",
    ["::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1", "fe80::1", "fc00::1", "ff02::1"],
)  # fmt: skip
async def test_private_ipv6_addresses_and_embedded_private_ipv4_addresses_are_refused(address):
    async with open_cdn(
        private_addresses=False, family=socket.AF_INET6, hosts=("rebound.example",)
    ) as (cdn, port, _, session):
        session.connector._resolver = FixedResolver(address)  # noqa: SLF001  # the attack
        with pytest.raises(Refusal) as refusal:
            await cdn.fetch_playlist(f"http://rebound.example:{port}/a.m3u8")

    assert refusal.value.reason == "stream-host-not-allowed"


async def test_only_the_configured_address_family_is_used():
    async with open_cdn(private_addresses=True, family=socket.AF_INET6) as (cdn, port, requests, _):
        with pytest.raises(Refusal, match="platform-unreachable"):
            await cdn.fetch_playlist(f"http://127.0.0.1:{port}/a.m3u8")

    assert requests == []


async def test_requests_to_the_cdn_send_no_cookies_and_request_no_compression(sandbox):
    """The session neither stores nor sends cookies, and accepts no compression."""
    async with open_cdn_session(socket.AF_INET, private_addresses=True) as session:
        assert isinstance(session.cookie_jar, aiohttp.DummyCookieJar)
        assert session.headers == {"Accept-Encoding": "identity", "User-Agent": "playgate"}


@pytest.mark.parametrize("end", [asyncio.StreamWriter.close, reset_connection])
async def test_a_byte_request_is_retried_if_kept_alive_connections_were_closed(end):
    """Each connection serves one request, and ends at the next; three are kept alive."""
    all_open = asyncio.Barrier(KEPT_CONNECTIONS)
    opened = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        await reader.readuntil(b"\r\n\r\n")
        if opened <= KEPT_CONNECTIONS:
            await all_open.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
        end(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    url, telemetry = f"http://127.0.0.1:{port}/a.ts", build_telemetry()

    async def fetch(cdn: Cdn) -> bytes:
        async with cdn.open("GET", url, {}) as response:
            return await response.read()

    async with server, open_cdn_session(socket.AF_INET, private_addresses=True) as session:
        cdn = Cdn(
            session, session, AllowedHosts([f"127.0.0.1:{port}"], plain_http=True), telemetry,
            attempt_timeout=5,
        )  # fmt: skip
        bodies = await asyncio.gather(*(fetch(cdn) for _ in range(KEPT_CONNECTIONS)))
        assert bodies == [b"x"] * KEPT_CONNECTIONS
        assert await fetch(cdn) == b"x"

    assert b'playgate_upstream_retries_total{operation="bytes"} 1.0' in telemetry.metrics.render()
