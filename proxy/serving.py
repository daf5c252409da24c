"""Run an edge on its two ports until told to stop, and then let nobody down who was there.

Stopping: readiness goes off, the listeners close, and what has arrived is answered, with
`Connection: close`. A connection that nginx made before it noticed is reset, and nginx asks the
other edge; a request whose head was read is never dropped.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from proxy.adapters.clock import Clock
from proxy.adapters.logs import Logger
from proxy.app import Apps, build_apps
from proxy.settings import Settings
from proxy.settings.listen import Listen

BACKLOG = 1024
# What a connection accepted just before the end needs to bring its head in.
SETTLE_SECONDS = 0.25
MAX_LINE = 8 * 1024  # bytes; as nginx: longer is 414 there
MAX_FIELD = 16 * 1024  # bytes; cookies of other services come along


class ListenFailed(Exception):
    """A port could not be opened; the message names it and the cause."""


@dataclass(frozen=True, slots=True)
class Edge:
    """A running edge and where it listens."""

    apps: Apps
    player: Listen
    operator: Listen


@asynccontextmanager
async def running_edge(
    settings: Settings, *, log: Logger, clock: Clock | None = None
) -> AsyncIterator[Edge]:
    """Run an edge; leaving the context drains it.

    Raises:
        ListenFailed: a port is taken, or not ours to open.
    """
    async with AsyncExitStack() as stack:
        apps = await stack.enter_async_context(
            build_apps(settings, log=log, clock=clock or Clock())
        )
        # The operator port opens first and closes last: it is how one sees the other one drain.
        operator = await stack.enter_async_context(
            _port(apps.operator, settings.operator.listen, settings)
        )
        player = await stack.enter_async_context(_port(apps.player, settings.web.listen, settings))
        log.info("serving", player=str(player), operator=str(operator), sandbox=settings.sandbox)
        try:
            yield Edge(apps, player, operator)
        finally:
            apps.services.health.draining = True
            log.info("draining")


@asynccontextmanager
async def _port(app: web.Application, listen: Listen, settings: Settings) -> AsyncIterator[Listen]:
    heads = Heads(settings.web.head_timeout)
    app.middlewares.insert(0, heads.middleware)
    runner = web.AppRunner(
        app,
        access_log=None,
        handler_cancellation=True,
        keepalive_timeout=settings.web.keepalive_timeout,
        shutdown_timeout=settings.web.drain_timeout,
        max_line_size=MAX_LINE,
        max_field_size=MAX_FIELD,
    )
    await runner.setup()
    assert runner.server is not None  # noqa: S101  # set up one line above
    try:
        opened = _open_socket(listen)
        loop, connect = asyncio.get_running_loop(), heads.watched(runner.server)
        create = loop.create_unix_server if listen.path else loop.create_server
        server = await create(connect, sock=opened, backlog=BACKLOG)
        port = 0 if listen.path else opened.getsockname()[1]
        try:
            yield Listen(listen.host, port, listen.path)
        finally:
            server.close()
            await heads.all_in(SETTLE_SECONDS)
            _remove_stale_socket(listen.path)
    finally:
        await runner.cleanup()


class Heads:
    """Cuts off connections that do not send their first request's head in time.

    aiohttp closes idle connections after the keep-alive time, which must be longer than nginx's;
    a crowd of clients that dribble their heads is to be gone much sooner.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._owed: dict[web.RequestHandler, asyncio.TimerHandle] = {}
        self._none_owed = asyncio.Event()
        self._none_owed.set()

    def watched(self, server: web.Server) -> Callable[[], asyncio.Protocol]:
        """Return the server's protocol factory, with a clock on each connection."""
        loop = asyncio.get_running_loop()

        def connect() -> asyncio.Protocol:
            connection = server()
            self._owed[connection] = loop.call_later(self._timeout, self._cut_off, connection)
            self._none_owed.clear()
            return connection

        return connect

    async def all_in(self, seconds: float) -> None:
        """Wait until no connection owes its first head, at most a while."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._none_owed.wait()

    @property
    def middleware(self) -> Middleware:
        """The middleware that notices a head that came."""

        @web.middleware
        async def note_head(request: web.Request, handler: Handler) -> web.StreamResponse:
            if (timer := self._settle(request.protocol)) is not None:
                timer.cancel()
            return await handler(request)

        return note_head

    def _settle(self, connection: web.RequestHandler) -> asyncio.TimerHandle | None:
        timer = self._owed.pop(connection, None)
        if not self._owed:
            self._none_owed.set()
        return timer

    def _cut_off(self, connection: web.RequestHandler) -> None:
        self._settle(connection)
        connection.force_close()


def _open_socket(listen: Listen) -> socket.socket:
    _remove_stale_socket(listen.path)
    tcp = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    family = socket.AF_UNIX if listen.path else tcp
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(listen.path or (listen.host, listen.port))
    except OSError as error:
        opened.close()
        raise ListenFailed(f"cannot listen on {listen}: {error.strerror}") from None
    return opened


def _remove_stale_socket(path: str) -> None:
    """Remove what a killed process left; any other kind of file is somebody's, and stays."""
    if path and Path(path).is_socket():
        Path(path).unlink()
