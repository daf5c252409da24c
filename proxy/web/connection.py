"""One connection of a client: how long it may take to say something, and what bad HTTP is told."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from uuid import uuid4

from aiohttp import web

from proxy.domain.reasons import Reason, Refusal
from proxy.web.problem import problem
from proxy.web.services import Current
from proxy.web.slow_readers import SlowReaders
from proxy.web.telling import Telling

HEAD_TIMEOUT = 10.0  # seconds that the head of a request may take to come in


class Connection(web.RequestHandler):
    """aiohttp's connection with a time limit for each head, and errors in our own form.

    aiohttp closes idle connections after the keep-alive time, which must be longer than nginx's;
    a crowd of clients that dribble their heads is to be gone much sooner. And its own answer to a
    request that cannot be parsed repeats the raw line, token included, to client and log.
    """

    def __init__(self, server: web.Server, app: web.Application, **limits: Any) -> None:
        limits["access_log"] = None  # our own lines tell more, and never a query
        super().__init__(server, loop=asyncio.get_running_loop(), **limits)
        self._port = app[PORT]
        self._heads = app[PORT].heads
        self._transport: asyncio.Transport | None = None  # aiohttp's is gone once it is closed
        self.is_resting = False  # kept alive, with nothing under way

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the clock."""
        super().connection_made(transport)
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._port.slow_readers.add(self)
        self._heads.await_head_of(self)

    def data_received(self, data: bytes) -> None:
        """Start the clock again where a further request begins."""
        if self.is_resting:
            self.is_resting = False
            self._heads.await_head_of(self)
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop the clock."""
        self._heads.settle(self)
        self._port.slow_readers.discard(self)
        super().connection_lost(exc)

    @property
    def is_stuck(self) -> bool:
        """Say whether output waits for the client alone: no handler is at work on more of it."""
        transport = self._transport
        if transport is None or not transport.get_write_buffer_size():
            return False
        return self.writing_paused or not self._request_in_progress

    def resume_writing(self) -> None:
        """Go on writing: the client has read."""
        super().resume_writing()
        self._port.slow_readers.note_progress(self)

    def abort(self) -> None:
        """End the connection at once, and drop what is unread."""
        if self._transport is not None:
            self._transport.abort()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer; for a target that is no path (`OPTIONS *`, CONNECT), one of ours."""
        if isinstance(resp, web.HTTPException):
            # Also for an Expect that is not met (RFC 9110, 10.1.1): such a target does not exist.
            resp = self.handle_error(request, Reason.NOT_FOUND.status, resp)
        return await super().finish_response(request, resp, start_time)

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002  # aiohttp's signature
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  # it repeats the raw line
    ) -> web.StreamResponse:
        """Answer what is no HTTP request, and what failed outside of any handler."""
        if isinstance(exc, ConnectionError):  # the client left before its 100 Continue
            status = Reason.REQUEST_INVALID.status
        reason = Reason.INTERNAL if status >= Reason.INTERNAL.status else Reason.REQUEST_INVALID
        if status == Reason.NOT_FOUND.status:
            reason = Reason.NOT_FOUND
        request_id = uuid4().hex
        telemetry = self._port.current.services.telemetry
        http, log = telemetry.metrics.http, telemetry.log
        http.requests.labels(route="unmatched", method="other", code=reason.status).inc()
        http.denials.labels(reason=reason).inc()
        if reason is Reason.INTERNAL:
            log.error("internal", request_id=request_id, exc_info=exc)
        else:
            log.info("bad-request", request_id=request_id, error=type(exc).__name__)
        response = problem(Refusal(reason), request_id)
        response.headers.update(self._port.headers, **{"X-Request-Id": request_id})
        response.force_close()
        return response


def rest(connection: web.RequestHandler) -> None:
    """Note that a request is answered: what comes next on its connection begins another head."""
    if isinstance(connection, Connection):
        connection.is_resting = True


class Heads:
    """Which connections owe the head of a request: those that are new, or have begun one.

    One timer looks after all of them: a timer for each request would cost more than to find its
    route. So a connection may be cut off a little late.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()  # asked for each time, it is a system call
        self._owed: dict[web.RequestHandler, float] = {}  # until when; the oldest first
        self._timer: asyncio.TimerHandle | None = None
        self._none_owed: asyncio.Event | None = None  # for who waits for that

    def await_head_of(self, connection: web.RequestHandler) -> None:
        """Cut the connection off unless a head comes in time."""
        self._owed[connection] = until = self._loop.time() + self._timeout
        if self._timer is None:
            self._timer = self._loop.call_at(until, self._cut_off)

    def settle(self, connection: web.RequestHandler) -> None:
        """Note that the head has come, or that nobody waits for it any more."""
        self._owed.pop(connection, None)
        if self._none_owed is not None and not self._owed:
            self._none_owed.set()

    async def all_in(self, seconds: float) -> None:
        """Wait until no head is owed, at most a while."""
        if not self._owed:
            return
        self._none_owed = asyncio.Event()
        try:
            async with asyncio.timeout(seconds):
                await self._none_owed.wait()
        except TimeoutError:
            return

    def _cut_off(self) -> None:
        self._timer = None
        while self._owed:
            connection, until = next(iter(self._owed.items()))
            if until > self._loop.time():
                self._timer = self._loop.call_at(until, self._cut_off)
                return
            self.settle(connection)
            connection.force_close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """What the requests of one port share."""

    current: Current
    heads: Heads
    slow_readers: SlowReaders
    telling: Telling
    headers: Mapping[str, str]  # of every answer
    is_unix_socket: bool


PORT: web.AppKey[Port] = web.AppKey("port", Port)
