"""HTTP requests to other servers, with retries, timeouts, a size limit and metrics."""

import asyncio
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from secrets import SystemRandom
from typing import Any, Literal, NamedTuple

import aiohttp
from yarl import URL

from proxy.adapters.errors import (
    CONNECTION_ERRORS,
    UpstreamError,
    build_connection_error,
    is_malformed_http,
    reset_unread,
)
from proxy.adapters.telemetry import Telemetry
from proxy.domain.clock_skew import measure_skew

Operation = Literal["token", "video", "playlist", "bytes", "account", "videos", "jwks"]

# Requests to Dailymotion's API; the `Date` of their responses is compared with this clock.
CLOCK_OPERATIONS: frozenset[Operation] = frozenset({"token", "video"})

MAX_RESPONSE_BYTES = 256 * 1024  # real API responses have a few hundred bytes
MAX_ATTEMPTS = 3
LARGE_BODY_BYTES = 1024 * 1024
MAX_LARGE_BODIES = 2  # that are read at once
FIRST_RETRY_SECONDS = 0.1  # delay before the second attempt; doubles for each further attempt
MAX_RETRY_SECONDS = 0.5
# Up to this is added at random, so that requests that failed together do not retry together.
MAX_JITTER_SECONDS = 0.1


class HttpResponse(NamedTuple):
    """A complete response whose status is below 500 and not 429."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpClient:
    """Sends requests with a timeout per attempt, and retries transient failures."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        telemetry: Telemetry,
        *,
        attempt_timeout: float,
        max_response_bytes: int = MAX_RESPONSE_BYTES,
        max_attempts: int = MAX_ATTEMPTS,
    ) -> None:
        self._session = session
        self._clock = telemetry.clock
        self._metrics = telemetry.metrics.upstream
        self._attempt_timeout = aiohttp.ClientTimeout(total=attempt_timeout)
        self._max_response_bytes = max_response_bytes
        self._max_attempts = max_attempts
        self._large_bodies = asyncio.Semaphore(MAX_LARGE_BODIES)

    async def send(
        self, operation: Operation, method: str, url: URL, *, deadline: float, **options: Any
    ) -> HttpResponse:
        """Send a request and return its response; retry transient failures.

        Args:
            operation: the `operation` label of the metrics.
            method: the HTTP method.
            url: sent unchanged.
            deadline: in seconds of the monotonic clock. No retry starts after it, even if the
                server sent a Retry-After. The caller cancels an attempt that runs beyond it.
            options: keyword arguments for aiohttp's `request`, such as headers, data, json.

        Raises:
            UpstreamError: if the last attempt failed.
        """
        attempt = 1
        while True:
            try:
                return await self._attempt(operation, method, url, options)
            except UpstreamError as error:
                delay = (
                    compute_retry_delay(attempt) if error.retry_after is None else error.retry_after
                )
                is_last = attempt == self._max_attempts or not error.is_transient
                if is_last or delay >= deadline - self._clock.monotonic():
                    raise
            await asyncio.sleep(delay)
            attempt += 1
            self._metrics.retries.labels(operation=operation).inc()

    async def fetch_text(self, operation: Operation, url: str, *, max_seconds: float) -> str:
        """Fetch a text file within `max_seconds`, without following redirects.

        Raises:
            UpstreamError: if the request failed, took too long or returned a status other than 200.
        """
        deadline = self._clock.monotonic() + max_seconds
        try:
            async with asyncio.timeout(max_seconds):
                response = await self.send(operation, "GET", URL(url), deadline=deadline)
        except TimeoutError:
            detail = f"{operation}: no complete response within {max_seconds:g} s"
            raise UpstreamError("timeout", detail) from None
        if response.status != HTTPStatus.OK:
            raise UpstreamError("bad-response", f"{operation}: HTTP {response.status}")
        return response.body.decode(errors="replace")

    async def _attempt(
        self, operation: Operation, method: str, url: URL, options: dict[str, Any]
    ) -> HttpResponse:
        started, sent_at = self._clock.monotonic(), self._clock.now()
        outcome = "unreachable"
        try:
            async with self._session.request(
                method, url, allow_redirects=False, timeout=self._attempt_timeout, **options
            ) as response:
                outcome = classify_status(response.status)
                self._record_clock_skew(operation, outcome, response.headers, sent_at)
                try:
                    body = await self._read_body(operation, response)
                finally:
                    reset_unread(response)
                return _check_response(operation, response, body, outcome)
        except asyncio.CancelledError:
            outcome = "timeout"  # the caller's deadline passed first
            raise
        except TimeoutError:
            outcome = "timeout"
            detail = f"{operation}: {url.host} did not respond in time"
            raise UpstreamError("timeout", detail, is_transient=True) from None
        except CONNECTION_ERRORS as error:
            outcome = "error" if is_malformed_http(error) else "unreachable"
            raise build_connection_error(operation, url.host, error) from None
        finally:
            self._metrics.duration.labels(operation=operation, outcome=outcome).observe(
                self._clock.monotonic() - started
            )

    async def _read_body(self, operation: Operation, response: aiohttp.ClientResponse) -> bytes:
        """Read a body; of the large ones, only a few at once, because they occupy memory."""
        smaller = min(self._max_response_bytes, LARGE_BODY_BYTES)
        start = await read_start(response, smaller)
        if response.content.at_eof():
            return check_size(operation, start, self._max_response_bytes)
        async with self._large_bodies:
            while not response.content.at_eof() and len(start) <= self._max_response_bytes:
                start += await response.content.read(self._max_response_bytes + 1)
        return check_size(operation, start, self._max_response_bytes)

    def _record_clock_skew(
        self, operation: Operation, outcome: str, headers: Mapping[str, str], sent_at: float
    ) -> None:
        """Compare this clock with the API's, unless the response is from a cache or a gateway."""
        if operation in CLOCK_OPERATIONS and outcome in {"ok", "refused"} and "Age" not in headers:
            now = self._clock.now()
            skew = measure_skew(headers.get("Date", ""), sent_at=sent_at, received_at=now)
            if skew is not None:
                self._metrics.clock_skew.set(skew)


def compute_retry_delay(attempt: int) -> float:
    """Return the seconds to wait after the failed attempt number `attempt`, counted from 1."""
    delay: float = min(MAX_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2 ** (attempt - 1))
    return delay + SystemRandom().uniform(0, MAX_JITTER_SECONDS)


async def read_body(
    operation: Operation, response: aiohttp.ClientResponse, max_bytes: int = MAX_RESPONSE_BYTES
) -> bytes:
    """Read a response body of at most `max_bytes`.

    Raises:
        UpstreamError: if the body is larger.
    """
    return check_size(operation, await read_start(response, max_bytes), max_bytes)


async def read_start(response: aiohttp.ClientResponse, max_bytes: int) -> bytearray:
    """Read a response body until its end, or until it is larger than `max_bytes`."""
    content, body = response.content, bytearray()
    while not content.at_eof() and len(body) <= max_bytes:
        body += await content.read(max_bytes + 1)  # the bytes that have arrived
    return body


def check_size(operation: Operation, body: bytearray, max_bytes: int) -> bytes:
    """Return a body. Raises UpstreamError if it is larger than `max_bytes`."""
    if len(body) > max_bytes:
        raise UpstreamError(
            "too-large", f"{operation}: the response is larger than {max_bytes} bytes"
        )
    return bytes(body)


def _check_response(
    operation: Operation, response: aiohttp.ClientResponse, body: bytes, outcome: str
) -> HttpResponse:
    if outcome in {"throttled", "error"}:
        raise UpstreamError(
            "throttled" if outcome == "throttled" else "unreachable",
            f"{operation}: HTTP {response.status}",
            is_transient=True,
            retry_after=parse_retry_after(
                response.headers.get("Retry-After"), response.headers.get("Date")
            ),
        )
    return HttpResponse(status=response.status, headers=response.headers, body=body)


def classify_status(status: int) -> str:
    """Return the `outcome` label of an HTTP status."""
    if status < HTTPStatus.BAD_REQUEST:
        return "ok"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return "throttled"
    return "refused" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "error"


def parse_retry_after(retry_after: str | None, date: str | None) -> float | None:
    """Return the seconds to wait by a Retry-After header (RFC 9110, 10.2.3); None if invalid.

    A date is compared with the server's own `Date`, so that a wrong clock does no harm.
    """
    if retry_after is None:
        return None
    if retry_after.isascii() and retry_after.isdecimal():
        return float(retry_after[:9])
    try:
        delay = parsedate_to_datetime(retry_after) - parsedate_to_datetime(date or "")
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, delay.total_seconds())
