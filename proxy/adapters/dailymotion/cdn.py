"""Dailymotion's CDN, for what the edge fetches itself: playlists to check, everything to relay.

Where a URL may lead is checked three times: its host by name before every hop, its address when it
is about to be dialled (a name may be made to point inside our network), and redirects one by one.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus

import aiohttp
from yarl import URL

from proxy.adapters.dailymotion.api_responses import to_refusal
from proxy.adapters.errors import (
    CONNECTION_ERRORS,
    PrivateAddressError,
    UpstreamError,
    build_connection_error,
    drop_tracebacks,
    is_malformed_http,
    reset_unread,
)
from proxy.adapters.http_client import (
    HttpClient,
    HttpResponse,
    classify_status,
    compute_retry_delay,
)
from proxy.adapters.telemetry import Telemetry
from proxy.adapters.timings import measure_upstream
from proxy.domain.allowed_hosts import AllowedHosts
from proxy.domain.client_ip import is_public, parse_address
from proxy.domain.playlist.resolve import resolve_uri
from proxy.domain.playlist.text import MAX_BYTES
from proxy.domain.reasons import Reason, Refusal

MAX_REDIRECTS = 3
# Closed before there was an answer: mostly a kept connection whose time was over. aiohttp tries one
# more, which may be as dead.
STALE_CONNECTION_ERRORS = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)
REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
GONE_STATUSES = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
NO_TOTAL_TIMEOUT = aiohttp.ClientTimeout(
    total=None
)  # on a body that is passed on; its reader has one
READ_BUFFER_BYTES = 32 * 1024  # bytes of a body; what arrives in one piece comes on top
MAX_CONNECTIONS = 1024  # at once to one host; beyond it requests queue within their time
MAX_RETRY_SECONDS = 1.0  # seconds; players give up on a playlist sooner than on anything else
# A low-latency playlist is held back for a part, or at worst for three segments (RFC 8216bis,
# 6.2.5.2); nginx waits a little longer (deploy/nginx.conf).
BLOCKING_RELOAD_TIMEOUT_SECONDS = 25.0
READ_TIMEOUT_SECONDS = 10.0  # seconds without a byte after which a body is given up
# A slow viewer holds a piece here, and what the CDN's connection has read: 0.4 MB in all. To take
# everything that is there would hold twice as much, and is no faster.
CHUNK_BYTES = 64 * 1024
# Nothing compressed: a size limit on what is to be inflated is none.
REQUEST_HEADERS = {"Accept-Encoding": "identity", "User-Agent": "playgate"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedPlaylist:
    """A playlist's body as it came, and where from, after redirects."""

    body: bytes
    url: str
    content_type: str


@asynccontextmanager
async def open_cdn_session(
    family: socket.AddressFamily, *, private_addresses: bool
) -> AsyncIterator[aiohttp.ClientSession]:
    """Open the session for one address family; `private_addresses` is the sandbox's privilege."""

    def guarded(info: aiohttp.AddrInfoType) -> socket.socket:
        address = parse_address(str(info[4][0]))
        if not private_addresses and (address is None or not is_public(address)):
            raise PrivateAddressError
        return socket.socket(info[0], info[1], info[2])

    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=0, limit_per_host=MAX_CONNECTIONS, family=family, socket_factory=guarded
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=REQUEST_HEADERS,
        auto_decompress=False,
        read_bufsize=READ_BUFFER_BYTES,
    ) as session:
        yield session


class Cdn:
    """Fetches playlists and opens everything else, from allowed hosts only.

    Each has a session of its own, so that viewers who download never hold up playlists.
    """

    def __init__(
        self,
        playlists: aiohttp.ClientSession,
        files: aiohttp.ClientSession,
        hosts: AllowedHosts,
        telemetry: Telemetry,
        *,
        attempt_timeout: float,
    ) -> None:
        self._files = files
        self._metrics = telemetry.metrics.upstream
        self._clock = telemetry.clock
        self.allow = hosts.check
        self._attempt_timeout = attempt_timeout
        self._clients = {
            wait: HttpClient(
                playlists, telemetry, attempt_timeout=wait, max_response_bytes=MAX_BYTES
            )
            for wait in (attempt_timeout, BLOCKING_RELOAD_TIMEOUT_SECONDS)
        }

    async def fetch_playlist(self, url: str, *, is_blocking: bool = False) -> ReceivedPlaylist:
        """Return a playlist, or refuse.

        With `is_blocking`, the server holds it back until there is news (RFC 8216bis, 6.2.5.2).
        """
        wait = BLOCKING_RELOAD_TIMEOUT_SECONDS if is_blocking else self._attempt_timeout
        deadline = self._clock.monotonic() + MAX_RETRY_SECONDS
        try:
            with measure_upstream(self._clock):
                async with asyncio.timeout(wait + MAX_RETRY_SECONDS):
                    url, answer = await self._fetch(self._clients[wait], url, deadline)
        except TimeoutError:
            raise Refusal(Reason.PLATFORM_TIMEOUT, "playlist: out of time") from None
        except UpstreamError as error:
            raise to_refusal(error) from None
        check_status(answer.status)
        if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise _build_bad_response_refusal("a playlist came compressed, which was not asked for")
        content_type = answer.headers.get("Content-Type", "").partition(";")[0].strip()
        return ReceivedPlaylist(body=answer.body, url=url, content_type=content_type)

    async def _fetch(
        self, client: HttpClient, url: str, deadline: float
    ) -> tuple[str, HttpResponse]:
        for _ in range(MAX_REDIRECTS + 1):
            asked = URL(self.allow(url), encoded=True)
            answer = await client.send("playlist", "GET", asked, deadline=deadline)
            if answer.status not in REDIRECT_STATUSES:
                break
            url = resolve_uri(url, answer.headers.get("Location", ""))
        return url, answer

    @asynccontextmanager
    async def open(
        self, method: str, url: str, headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Open what is to be passed on as it comes, or refuse; the body is the caller's to read."""
        started = self._clock.monotonic()
        outcome = ""
        try:
            async with asyncio.timeout(self._attempt_timeout):
                response = await self._open_within_deadline(method, url, headers)
            outcome = classify_status(response.status)
        except TimeoutError:
            outcome = "timeout"
            raise Refusal(Reason.PLATFORM_TIMEOUT, "bytes: no answer in time") from None
        except CONNECTION_ERRORS as error:
            outcome = "error" if is_malformed_http(error) else "unreachable"
            host = URL(url, encoded=True).host
            raise to_refusal(build_connection_error("bytes", host, error)) from None
        finally:
            if outcome:  # not where the viewer left, or the URL was none to ask
                self._metrics.duration.labels(operation="bytes", outcome=outcome).observe(
                    self._clock.monotonic() - started
                )
        async with response:
            try:
                yield response
            finally:
                reset_unread(response)

    async def _open_within_deadline(
        self, method: str, url: str, headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        try:
            return await self._follow_redirects(method, url, headers)
        except aiohttp.ClientConnectorError:  # it did not even open
            raise
        except STALE_CONNECTION_ERRORS:
            await asyncio.sleep(
                compute_retry_delay(1)
            )  # by then it shows which of those kept are closed
            self._metrics.retries.labels(operation="bytes").inc()
            return await self._follow_redirects(method, url, headers)

    async def _follow_redirects(
        self, method: str, url: str, headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._files.request(
                method,
                URL(self.allow(url), encoded=True),
                headers=headers,
                allow_redirects=False,
                timeout=NO_TOTAL_TIMEOUT,
            )
            if response.status not in REDIRECT_STATUSES:
                return response
            url = resolve_uri(url, response.headers.get("Location", ""))
            reset_unread(response)
            response.release()
        raise _build_bad_response_refusal("too many redirects")


async def read_chunks(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Yield a body as it comes; refuse if it breaks off."""
    content = response.content
    try:
        while not content.at_eof():
            # aiohttp's own limit (sock_read) ends with a chunk that is none, and nobody is told.
            async with asyncio.timeout(READ_TIMEOUT_SECONDS):
                chunk = await content.read(CHUNK_BYTES)
            if chunk:  # and not the end
                yield chunk
    except TimeoutError:
        raise Refusal(Reason.PLATFORM_TIMEOUT, "bytes: the CDN fell silent within a body") from None
    except (aiohttp.ClientError, OSError) as error:
        drop_tracebacks(error)
        detail = "bytes: the CDN broke off within a body"
        raise Refusal(Reason.PLATFORM_UNREACHABLE, detail) from None


def check_status(status: int) -> None:
    """Refuse an answer that is not the thing asked for."""
    if status in GONE_STATUSES:
        raise Refusal(Reason.STREAM_UNAVAILABLE, f"CDN: HTTP {status}")
    if status == HTTPStatus.FORBIDDEN:  # for the wrong address, too late, a robot: it never says
        raise _build_bad_response_refusal(
            "HTTP 403; see platform.address_family and platform.egress_ip"
        )
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        raise Refusal(Reason.PLATFORM_THROTTLED, "CDN: HTTP 429")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise Refusal(Reason.PLATFORM_UNREACHABLE, f"CDN: HTTP {status}")
    if status not in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}:
        raise _build_bad_response_refusal(f"HTTP {status}")


def _build_bad_response_refusal(why: str) -> Refusal:
    return Refusal(Reason.PLATFORM_BAD_RESPONSE, f"CDN: {why}")
