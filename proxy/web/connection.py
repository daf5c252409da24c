"""One connection of a client: how long it may take to send or read, and answers to bad HTTP."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from uuid import uuid4

from aiohttp import web

from proxy.domain.reasons import Reason, Refusal
from proxy.web.access_log import AccessLog
from proxy.web.problem_details import build_problem_response
from proxy.web.services import ServicesRef

HEADER_TIMEOUT_SECONDS = 10.0  # seconds that the head of a request may take to come in
WRITE_TIMEOUT_SECONDS = 30.0  # seconds; asyncio buffers 64 KiB, so that a client must read 2 kB/s
CHECK_INTERVAL_SECONDS = 1.0


class Connection(web.RequestHandler):
    """aiohttp's connection with time limits, and errors in our own form.

    aiohttp closes idle connections after the keep-alive time, which must be longer than nginx's; a
    crowd of clients that dribble their heads, or read nothing, is to be gone much sooner. And its
    own answer to a request that cannot be parsed repeats the raw line, token included, to client
    and log.
    """

    def __init__(self, server: web.Server, app: web.Application, **limits: Any) -> None:
        limits["access_log"] = None  # our own lines tell more, and never a query
        super().__init__(server, loop=asyncio.get_running_loop(), **limits)
        self._port = app[PORT]
        self._transport: asyncio.Transport | None = None  # aiohttp's is gone once it is closed
        self.head_due: float | None = None  # on the loop's clock; None while no head is owed
        self.stuck_since: float | None = None
        self.is_idle = False  # kept alive, with no request under way

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the clock."""
        super().connection_made(transport)
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._port.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Start the clock again if a further request begins."""
        if self.is_idle:
            self.is_idle = False
            self._port.connections.start_header_timeout(self)
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop the clock."""
        self._port.connections.discard(self)
        super().connection_lost(exc)

    @property
    def is_stuck(self) -> bool:
        """Say whether output waits for the client alone: no handler is at work on more of it."""
        transport = self._transport
        if transport is None or not transport.get_write_buffer_size():
            return False
        return self.writing_paused or not self._request_in_progress

    def resume_writing(self) -> None:
        """Go on writing: the client has read a buffer full."""
        super().resume_writing()
        self.stuck_since = None

    def abort(self) -> None:
        """End the connection at once, and drop what is unread.

        Closing it would not do: a transport that is closed waits for its output to be read.
        """
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
        telemetry = self._port.services_ref.services.telemetry
        http, log = telemetry.metrics.http, telemetry.log
        http.requests.labels(route="unmatched", method="other", code=reason.status).inc()
        http.refusals.labels(reason=reason).inc()
        if reason is Reason.INTERNAL:
            log.error("internal", request_id=request_id, exc_info=exc)
        else:
            log.info("bad-request", request_id=request_id, error=type(exc).__name__)
        response = build_problem_response(Refusal(reason), request_id)
        response.headers.update(self._port.headers, **{"X-Request-Id": request_id})
        response.force_close()
        return response


class Connections:
    """The open connections of a port; ends those whose clients send or read too slowly.

    One timer looks at all of them: timers for each request would cost more than finding its route.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()  # asked for each time, it is a system call
        self._open: set[Connection] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._open)

    @property
    def has_incomplete_headers(self) -> bool:
        """Say whether a connection is new, or has begun a request whose head is not all here."""
        return any(connection.head_due is not None for connection in self._open)

    def add(self, connection: Connection) -> None:
        """Look after a connection."""
        self._open.add(connection)
        self.start_header_timeout(connection)
        if self._timer is None:
            self._timer = self._loop.call_later(CHECK_INTERVAL_SECONDS, self._check)

    def discard(self, connection: Connection) -> None:
        """Look after it no more."""
        self._open.discard(connection)

    def start_header_timeout(self, connection: Connection) -> None:
        """Close the connection unless a head comes in time."""
        connection.head_due = self._loop.time() + HEADER_TIMEOUT_SECONDS

    async def wait_for_headers(self, seconds: float) -> None:
        """Wait until no head is owed, at most a while."""
        until = self._loop.time() + seconds
        while self.has_incomplete_headers and self._loop.time() < until:  # noqa: ASYNC110  # at the end only
            await asyncio.sleep(0.01)

    def _check(self) -> None:
        now, self._timer = self._loop.time(), None
        for connection in list(self._open):
            if connection.head_due is not None and now >= connection.head_due:
                connection.head_due = None
                connection.force_close()
            elif not connection.is_stuck:
                connection.stuck_since = None
            elif connection.stuck_since is None:
                connection.stuck_since = now
            elif now - connection.stuck_since >= WRITE_TIMEOUT_SECONDS:
                connection.abort()
        if self._open:
            self._timer = self._loop.call_later(CHECK_INTERVAL_SECONDS, self._check)


def mark_active(connection: web.RequestHandler) -> None:
    """Note that the head of a request has come."""
    if isinstance(connection, Connection):
        connection.head_due = None


def mark_idle(connection: web.RequestHandler) -> None:
    """Note that a request is answered: what comes next on its connection begins another head."""
    if isinstance(connection, Connection):
        connection.is_idle = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """What the requests of one port share."""

    services_ref: ServicesRef
    connections: Connections
    access_log: AccessLog
    headers: Mapping[str, str]  # of every answer
    is_unix_socket: bool


PORT: web.AppKey[Port] = web.AppKey("port", Port)
