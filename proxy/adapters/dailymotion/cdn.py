"""Fetches from Dailymotion's CDN: playlists to check, and everything that the edge relays.

Every request is limited to allowed hosts, redirects included: each hop's host name is checked
before the request, and its IP address when the connection is opened (`cdn_session.py`).
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

import aiohttp
from yarl import URL

from proxy.adapters.dailymotion.api_responses import to_refusal
from proxy.adapters.dailymotion.cdn_responses import (
    BodyDecompressor,
    build_bad_response_refusal,
    check_status,
)
from proxy.adapters.errors import (
    CONNECTION_ERRORS,
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
from proxy.adapters.timings import UpstreamTimer
from proxy.domain.allowed_hosts import AllowedHosts
from proxy.domain.reasons import Reason, Refusal
from proxy.hls.playlist_writer import MAX_BYTES
from proxy.hls.resolve import UnresolvableError, resolve_uri

MAX_REDIRECTS = 3
# The connection closed before a response: mostly a kept-alive connection past its timeout. aiohttp
# retries once on another kept-alive connection, which may be closed as well.
STALE_CONNECTION_ERRORS = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)
REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
NO_TOTAL_TIMEOUT = aiohttp.ClientTimeout(total=None)  # `read_chunks` limits each read instead
MAX_RETRY_SECONDS = 1.0  # players cancel playlist requests sooner than any others
# A server holds back a low-latency playlist for one part, or at worst for three segments (RFC
# 8216bis, 6.2.5.2). nginx waits a little longer (deploy/nginx.conf).
BLOCKING_RELOAD_TIMEOUT_SECONDS = 25.0
READ_TIMEOUT_SECONDS = 10.0  # the longest pause between two chunks of a body
# A slow viewer occupies one chunk plus the read buffers of the CDN connection: 0.4 MB in all.
# Reading everything that has arrived would occupy twice as much, and is no faster.
CHUNK_BYTES = 64 * 1024


class ReceivedPlaylist(NamedTuple):
    """A playlist's body without compression, its content type, and its URL after redirects."""

    body: bytes
    url: str
    content_type: str


class Cdn:
    """Fetches playlists and streams other files, from allowed hosts only.

    Playlists and files have separate sessions, so that downloads never delay playlists.
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
        self.hosts = hosts
        self._attempt_timeout = attempt_timeout
        self._decompressor = BodyDecompressor()
        self._clients = {
            timeout: HttpClient(
                playlists, telemetry, attempt_timeout=timeout, max_response_bytes=MAX_BYTES
            )
            for timeout in (attempt_timeout, BLOCKING_RELOAD_TIMEOUT_SECONDS)
        }

    async def fetch_playlist(self, url: str, *, is_blocking: bool = False) -> ReceivedPlaylist:
        """Fetch a playlist.

        With `is_blocking`, allow the server to hold back its response until the playlist has
        changed (RFC 8216bis, 6.2.5.2).

        Raises:
            Refusal: if the playlist cannot be fetched.
        """
        timeout = BLOCKING_RELOAD_TIMEOUT_SECONDS if is_blocking else self._attempt_timeout
        deadline = self._clock.monotonic() + MAX_RETRY_SECONDS
        try:
            with UpstreamTimer(self._clock):
                async with asyncio.timeout(timeout + MAX_RETRY_SECONDS):
                    url, response = await self._fetch(self._clients[timeout], url, deadline)
        except TimeoutError:
            detail = f"playlist: no result within {timeout + MAX_RETRY_SECONDS:g} s"
            raise Refusal(Reason.PLATFORM_TIMEOUT, detail) from None
        except UpstreamError as error:
            if error.kind == "too-large":
                raise Refusal(Reason.PLAYLIST_TOO_LARGE, error.detail) from None
            raise to_refusal(error) from None
        check_status(response.status)
        body, encoding = response.body, response.headers.get("Content-Encoding", "")
        if encoding and encoding.lower() != "identity":
            body = await self._decompressor.decompress(body, encoding)
        content_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
        return ReceivedPlaylist(body=body, url=url, content_type=content_type)

    async def _fetch(
        self, client: HttpClient, url: str, deadline: float
    ) -> tuple[str, HttpResponse]:
        for _ in range(MAX_REDIRECTS + 1):
            allowed_url = URL(self.hosts.check(url), encoded=True)
            response = await client.send("playlist", "GET", allowed_url, deadline=deadline)
            if response.status not in REDIRECT_STATUSES:
                break
            url = _resolve_location(url, response.headers.get("Location", ""))
        return url, response

    @asynccontextmanager
    async def open(
        self, method: str, url: str, headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Open a response to relay; the caller reads its body.

        Raises:
            Refusal: if there is no response in time, or the host is not allowed.
        """
        started = self._clock.monotonic()
        outcome = ""
        try:
            async with asyncio.timeout(self._attempt_timeout):
                response = await self._open_within_deadline(method, url, headers)
            outcome = classify_status(response.status)
        except TimeoutError:
            outcome = "timeout"
            detail = f"bytes: the CDN did not respond within {self._attempt_timeout:g} s"
            raise Refusal(Reason.PLATFORM_TIMEOUT, detail) from None
        except CONNECTION_ERRORS as error:
            outcome = "error" if is_malformed_http(error) else "unreachable"
            host = URL(url, encoded=True).host
            raise to_refusal(build_connection_error("bytes", host, error)) from None
        finally:
            if outcome:  # empty if the viewer disconnected or the URL was refused
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
        except aiohttp.ClientConnectorError:  # a new connection failed; a retry would not help
            raise
        except STALE_CONNECTION_ERRORS:
            # After the delay, aiohttp knows which kept-alive connections are closed.
            await asyncio.sleep(compute_retry_delay(1))
            self._metrics.retries.labels(operation="bytes").inc()
            return await self._follow_redirects(method, url, headers)

    async def _follow_redirects(
        self, method: str, url: str, headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._files.request(
                method,
                URL(self.hosts.check(url), encoded=True),
                headers=headers,
                allow_redirects=False,
                timeout=NO_TOTAL_TIMEOUT,
            )
            if response.status not in REDIRECT_STATUSES:
                return response
            url = _resolve_location(url, response.headers.get("Location", ""))
            reset_unread(response)
            response.release()
        raise build_bad_response_refusal("too many redirects")


def _resolve_location(url: str, location: str) -> str:
    try:
        return resolve_uri(url, location)
    except UnresolvableError:
        raise build_bad_response_refusal("the response redirects to an invalid URL") from None


async def read_chunks(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Yield a response body in chunks as they arrive.

    Raises:
        Refusal: if the connection breaks, or no data arrives for `READ_TIMEOUT_SECONDS`.
    """
    content = response.content
    try:
        while not content.at_eof():
            # aiohttp's own timeout (sock_read) ends the body with an empty chunk and no error.
            async with asyncio.timeout(READ_TIMEOUT_SECONDS):
                chunk = await content.read(CHUNK_BYTES)
            if chunk:  # empty at the end of the body
                yield chunk
    except TimeoutError:
        detail = (
            f"bytes: the CDN sent no data for {READ_TIMEOUT_SECONDS:g} s before the end of the body"
        )
        raise Refusal(Reason.PLATFORM_TIMEOUT, detail) from None
    except (aiohttp.ClientError, OSError) as error:
        drop_tracebacks(error)
        detail = "bytes: the CDN closed the connection before the end of the body"
        raise Refusal(Reason.PLATFORM_UNREACHABLE, detail) from None
