"""One connection of a client: how long it may take to say something, and what bad HTTP is told."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

from aiohttp import web

from proxy.domain.reasons import Reason, Refusal
from proxy.web.problem import problem
from proxy.web.services import CURRENT


class Connection(web.RequestHandler):
    """aiohttp's connection with a time limit for each head, and errors in our own form.

    aiohttp closes idle connections after the keep-alive time, which must be longer than nginx's;
    a crowd of clients that dribble their heads is to be gone much sooner. And its own answer to a
    request that cannot be parsed repeats the raw line, token included, to client and log.
    """

    def __init__(self, server: web.Server, app: web.Application, **limits: Any) -> None:
        limits["access_log"] = None  # our own lines tell more, and never a query
        super().__init__(server, loop=asyncio.get_running_loop(), **limits)
        self._current = app[CURRENT]
        self._heads = app[HEADS]
        self._headers = app[PORT_HEADERS]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the clock."""
        super().connection_made(transport)
        self._heads.await_head_of(self)

    def data_received(self, data: bytes) -> None:
        """Start the clock again where a further request begins."""
        self._heads.begin(self)
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop the clock."""
        self._heads.settle(self)
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002  # aiohttp's signature
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  # it repeats the raw line
    ) -> web.StreamResponse:
        """Answer what is no HTTP request, and what failed outside of any handler."""
        reason = Reason.INTERNAL if status >= Reason.INTERNAL.status else Reason.REQUEST_INVALID
        request_id = uuid4().hex
        metrics, log = self._current.services.metrics, self._current.services.log
        metrics.requests.labels(route="unmatched", method="other", code=reason.status).inc()
        metrics.denials.labels(reason=reason).inc()
        if reason is Reason.INTERNAL:
            log.error("internal", request_id=request_id, exc_info=exc)
        else:
            log.info("bad-request", request_id=request_id, error=type(exc).__name__)
        response = problem(Refusal(reason), request_id)
        response.headers.update(self._headers, **{"X-Request-Id": request_id})
        response.force_close()
        return response


class Heads:
    """Which connections owe the head of a request: those that are new, or have begun one."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._owed: dict[web.RequestHandler, asyncio.TimerHandle] = {}
        self._resting: set[web.RequestHandler] = set()  # kept alive, with nothing under way
        self._none_owed = asyncio.Event()
        self._none_owed.set()

    def await_head_of(self, connection: web.RequestHandler) -> None:
        """Cut the connection off unless a head comes in time."""
        loop = asyncio.get_running_loop()
        self._owed[connection] = loop.call_later(self._timeout, self._cut_off, connection)
        self._none_owed.clear()

    def rest(self, connection: web.RequestHandler) -> None:
        """Note that a request is answered, unless nobody is there any more to send another."""
        if connection.transport is not None:
            self._resting.add(connection)

    def begin(self, connection: web.RequestHandler) -> None:
        """Note that something came; on a resting connection, it is the next head's beginning."""
        if connection in self._resting:
            self._resting.discard(connection)
            self.await_head_of(connection)

    def settle(self, connection: web.RequestHandler) -> None:
        """Note that the head has come, or that nobody waits for it any more."""
        self._resting.discard(connection)
        if (timer := self._owed.pop(connection, None)) is not None:
            timer.cancel()
        if not self._owed:
            self._none_owed.set()

    async def all_in(self, seconds: float) -> None:
        """Wait until no head is owed, at most a while."""
        try:
            async with asyncio.timeout(seconds):
                await self._none_owed.wait()
        except TimeoutError:
            return

    def _cut_off(self, connection: web.RequestHandler) -> None:
        self.settle(connection)
        connection.force_close()


HEADS: web.AppKey[Heads] = web.AppKey("heads", Heads)
PORT_HEADERS: web.AppKey[dict[str, str]] = web.AppKey("port_headers", dict)
