"""Requests to other servers: attempts, time limits, size limits, and what failed."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from secrets import SystemRandom
from typing import Any, Literal

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

CLOCK_OPERATIONS: frozenset[Operation] = frozenset({"token", "video"})  # Dailymotion's API

MAX_RESPONSE_BYTES = 256 * 1024  # bytes; real answers of the API take a few hundred
MAX_ATTEMPTS = 3
FIRST_RETRY_SECONDS = 0.1  # seconds before the second attempt; twice as long before the next
MAX_RETRY_SECONDS = 0.5
MAX_JITTER_SECONDS = (
    0.1  # at most, added at random: those who failed together do not come back together
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """What came back, whole, with a status below 500 other than 429."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpClient:
    """Sends requests, each within its time, and retries what may succeed."""

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

    async def send(
        self, operation: Operation, method: str, url: URL, *, deadline: float, **options: Any
    ) -> HttpResponse:
        """Return the answer, after retries where they help.

        Args:
            operation: the metric's label.
            method: of the request.
            url: sent exactly as it is.
            deadline: on the monotonic clock; a Retry-After beyond it is not waited for, and the
                caller cancels what takes longer.
            options: what aiohttp's `request` takes: headers, data, json.

        Raises:
            UpstreamError: the last attempt failed.
        """
        attempt = 1
        while True:
            try:
                return await self._attempt(operation, method, url, options)
            except UpstreamError as error:
                pause = (
                    compute_retry_delay(attempt) if error.retry_after is None else error.retry_after
                )
                is_last = attempt == self._max_attempts or not error.is_transient
                if is_last or pause >= deadline - self._clock.monotonic():
                    raise
            await asyncio.sleep(pause)
            attempt += 1
            self._metrics.retries.labels(operation=operation).inc()

    async def fetch_text(self, operation: Operation, url: str, *, max_seconds: float) -> str:
        """Return a text within so many seconds; redirects are not followed.

        Raises:
            UpstreamError: it cannot be had.
        """
        deadline = self._clock.monotonic() + max_seconds
        try:
            async with asyncio.timeout(max_seconds):
                answer = await self.send(operation, "GET", URL(url), deadline=deadline)
        except TimeoutError:
            raise UpstreamError("timeout", f"{operation}: out of time") from None
        if answer.status != HTTPStatus.OK:
            raise UpstreamError("bad-response", f"{operation}: HTTP {answer.status}")
        return answer.body.decode(errors="replace")

    async def _attempt(
        self, operation: Operation, method: str, url: URL, options: dict[str, Any]
    ) -> HttpResponse:
        started, asked_at = self._clock.monotonic(), self._clock.now()
        outcome = "unreachable"
        try:
            async with self._session.request(
                method, url, allow_redirects=False, timeout=self._attempt_timeout, **options
            ) as response:
                outcome = classify_status(response.status)
                self._record_clock_skew(operation, outcome, response.headers, asked_at)
                try:
                    body = await read_body(operation, response, self._max_response_bytes)
                finally:
                    reset_unread(response)
                return _check_response(operation, response, body)
        except asyncio.CancelledError:
            outcome = "timeout"  # the play's own time was over first
            raise
        except TimeoutError:
            outcome = "timeout"
            detail = f"{operation}: no answer from {url.host} in time"
            raise UpstreamError("timeout", detail, is_transient=True) from None
        except CONNECTION_ERRORS as error:
            outcome = "error" if is_malformed_http(error) else "unreachable"
            raise build_connection_error(operation, url.host, error) from None
        finally:
            self._metrics.duration.labels(operation=operation, outcome=outcome).observe(
                self._clock.monotonic() - started
            )

    def _record_clock_skew(
        self, operation: Operation, outcome: str, headers: Mapping[str, str], asked_at: float
    ) -> None:
        """Compare our clock with the API's, unless a cache answered, or something in between."""
        if operation in CLOCK_OPERATIONS and outcome in {"ok", "refused"} and "Age" not in headers:
            now = self._clock.now()
            skew = measure_skew(headers.get("Date", ""), asked_at=asked_at, answered_at=now)
            if skew is not None:
                self._metrics.clock_skew.set(skew)


def compute_retry_delay(attempt: int) -> float:
    """Return how many seconds to wait after an attempt that failed, counted from 1."""
    pause: float = min(MAX_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2 ** (attempt - 1))
    return pause + SystemRandom().uniform(0, MAX_JITTER_SECONDS)


async def read_body(
    operation: Operation, response: aiohttp.ClientResponse, max_bytes: int = MAX_RESPONSE_BYTES
) -> bytes:
    """Return a body of so many bytes at most.

    Raises:
        UpstreamError: it is larger.
    """
    content = response.content
    body = await content.read(max_bytes + 1)  # what is there; mostly that is all
    while not content.at_eof() and len(body) <= max_bytes:
        body += await content.read(max_bytes + 1)
    if len(body) > max_bytes:
        raise UpstreamError(
            "bad-response", f"{operation}: an answer of more than {max_bytes} bytes"
        )
    return body


def _check_response(
    operation: Operation, response: aiohttp.ClientResponse, body: bytes
) -> HttpResponse:
    status = response.status
    is_throttled = status == HTTPStatus.TOO_MANY_REQUESTS
    if is_throttled or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise UpstreamError(
            "throttled" if is_throttled else "unreachable",
            f"{operation}: HTTP {status}",
            is_transient=True,
            retry_after=parse_retry_after(
                response.headers.get("Retry-After"), response.headers.get("Date")
            ),
        )
    return HttpResponse(status=status, headers=response.headers, body=body)


def classify_status(status: int) -> str:
    """Return what a status means to the metrics."""
    if status < HTTPStatus.BAD_REQUEST:
        return "ok"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return "throttled"
    return "refused" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "error"


def parse_retry_after(retry_after: str | None, date: str | None) -> float | None:
    """Return how long a Retry-After (RFC 9110, 10.2.3) asks to wait; None if it does not say.

    A date is counted from the server's own `Date`, so that its clock and ours may differ.
    """
    if retry_after is None:
        return None
    if retry_after.isascii() and retry_after.isdecimal():
        return float(retry_after[:9])
    try:
        asked = parsedate_to_datetime(retry_after) - parsedate_to_datetime(date or "")
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, asked.total_seconds())
