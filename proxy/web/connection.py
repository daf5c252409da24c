"""Client connections: header and write timeouts, and responses to malformed HTTP."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from aiohttp import web

from proxy.domain.reasons import Reason, Refusal
from proxy.web.access_log import AccessLog
from proxy.web.problem_details import build_problem_response
from proxy.web.request_context import create_request_id
from proxy.web.services import ServicesRef

HEADER_TIMEOUT_SECONDS = 10.0  # for all headers of a request to arrive
WRITE_TIMEOUT_SECONDS = 30.0  # asyncio buffers 64 KiB, so a client must read at least 2 kB/s
CHECK_INTERVAL_SECONDS = 1.0


class Connection(web.RequestHandler):
    """An aiohttp connection with header and write timeouts, and with Playgate's error responses.

    aiohttp closes idle connections after the keep-alive timeout only, which must be longer than
    nginx's. Clients that send their headers very slowly, or read nothing, must be disconnected much
    sooner. aiohttp's response to an unparsable request repeats the raw request line, token
    included, to the client and in the log.
    """

    def __init__(self, server: web.Server, app: web.Application, **limits: Any) -> None:
        limits["access_log"] = None  # Playgate's log has more fields, and never a query string
        super().__init__(server, loop=asyncio.get_running_loop(), **limits)
        self._port = app[PORT]
        self._transport: asyncio.Transport | None = None  # aiohttp drops its reference on close
        self.headers_deadline: float | None = None  # loop time; None while no headers are expected
        self.stalled_since: float | None = None  # loop time
        self.is_idle = False  # kept alive, with no request in flight

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the header timeout of the first request."""
        super().connection_made(transport)
        # A cast, because uvloop's transport is not a subclass of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._port.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Restart the header timeout if another request begins."""
        if self.is_idle:
            self.is_idle = False
            self._port.connections.start_header_timeout(self)
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop checking the timeouts of this connection."""
        self._port.connections.discard(self)
        super().connection_lost(exc)

    @property
    def is_write_stalled(self) -> bool:
        """Whether unsent output only waits for the client, and no handler is producing more."""
        transport = self._transport
        if transport is None or not transport.get_write_buffer_size():
            return False
        return self.writing_paused or not self._request_in_progress

    def resume_writing(self) -> None:
        """Resume writing and reset the write timeout: the client has read a full buffer."""
        super().resume_writing()
        self.stalled_since = None

    def abort(self) -> None:
        """Close the connection at once and discard unsent output.

        `close()` is not enough: a closing transport waits until the client has read all output.
        """
        if self._transport is not None:
            self._transport.abort()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send a response; replace aiohttp's own errors with Playgate's `not-found`.

        aiohttp raises such errors for a target that is not a path (`OPTIONS *`, CONNECT).
        """
        if isinstance(resp, web.HTTPException):
            # Also replaces 417 for an unmet Expect (RFC 9110, 10.1.1): the target does not exist.
            resp = self.handle_error(request, Reason.NOT_FOUND.status, resp)
        return await super().finish_response(request, resp, start_time)

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002  # aiohttp's signature
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  # repeats the raw request line
    ) -> web.StreamResponse:
        """Build the response to malformed HTTP, or to an error outside of all handlers."""
        if isinstance(exc, ConnectionError):  # the client disconnected before 100 Continue
            status = Reason.REQUEST_INVALID.status
        reason = Reason.INTERNAL if status >= Reason.INTERNAL.status else Reason.REQUEST_INVALID
        if status == Reason.NOT_FOUND.status:
            reason = Reason.NOT_FOUND
        request_id = create_request_id()
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
    """The open connections of a port. Closes connections whose clients send or read too slowly.

    One timer checks all connections: a timer per request would cost more than routing the request.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()  # cached: each look-up is a system call
        self._open: set[Connection] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._open)

    @property
    def has_incomplete_headers(self) -> bool:
        """Whether a connection is new, or has sent only a part of its request headers."""
        return any(connection.headers_deadline is not None for connection in self._open)

    def add(self, connection: Connection) -> None:
        """Start checking the timeouts of a connection."""
        self._open.add(connection)
        self.start_header_timeout(connection)
        if self._timer is None:
            self._timer = self._loop.call_later(CHECK_INTERVAL_SECONDS, self._check)

    def discard(self, connection: Connection) -> None:
        """Stop checking the timeouts of a connection."""
        self._open.discard(connection)

    def start_header_timeout(self, connection: Connection) -> None:
        """Set the deadline for the headers of the next request on a connection."""
        connection.headers_deadline = self._loop.time() + HEADER_TIMEOUT_SECONDS

    async def wait_for_headers(self, seconds: float) -> None:
        """Wait until all started requests have complete headers, for at most `seconds`."""
        deadline = self._loop.time() + seconds
        while self.has_incomplete_headers and self._loop.time() < deadline:  # noqa: ASYNC110  # only at shutdown
            await asyncio.sleep(0.01)

    def _check(self) -> None:
        now, self._timer = self._loop.time(), None
        for connection in list(self._open):
            if connection.headers_deadline is not None and now >= connection.headers_deadline:
                connection.headers_deadline = None
                connection.force_close()
            elif not connection.is_write_stalled:
                connection.stalled_since = None
            elif connection.stalled_since is None:
                connection.stalled_since = now
            elif now - connection.stalled_since >= WRITE_TIMEOUT_SECONDS:
                connection.abort()
        if self._open:
            self._timer = self._loop.call_later(CHECK_INTERVAL_SECONDS, self._check)


def mark_active(connection: web.RequestHandler) -> None:
    """Stop the header timeout: all headers of a request have arrived."""
    if isinstance(connection, Connection):
        connection.headers_deadline = None


def mark_idle(connection: web.RequestHandler) -> None:
    """Mark a request as finished: the next data on its connection begins another request."""
    if isinstance(connection, Connection):
        connection.is_idle = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """Objects that all requests of a port share."""

    services_ref: ServicesRef
    connections: Connections
    access_log: AccessLog
    headers: Mapping[str, str]  # added to every response
    is_unix_socket: bool


PORT: web.AppKey[Port] = web.AppKey("port", Port)
