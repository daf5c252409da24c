"""Run an edge on its two ports until told to stop, and then let nobody down who was there.

Stopping: readiness goes off, the listeners close, and what has arrived is answered, with
`Connection: close`. A connection that nginx made before it noticed is reset, and nginx asks the
other edge; a request whose head was read is never dropped.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from aiohttp import web

from proxy.adapters.clock import Clock
from proxy.adapters.logs import Logger
from proxy.app import Apps, open_apps
from proxy.reloading import SettingsReloader, SettingsSource
from proxy.settings import Settings
from proxy.settings.value_checks import ListenAddress, parse_listen
from proxy.web.connection import PORT, Connection

BACKLOG = 1024
# What a connection accepted just before the end needs to bring its head in.
DRAIN_GRACE_SECONDS = 0.25
MAX_REQUEST_LINE_BYTES = 8 * 1024  # bytes; as nginx: longer is 414 there
MAX_HEADER_BYTES = 16 * 1024  # bytes; cookies of other services come along


class ListenError(Exception):
    """A port could not be opened; the message names it and the cause."""


@dataclass(frozen=True, slots=True)
class Edge:
    """A running edge and where it listens."""

    apps: Apps
    player: ListenAddress
    operator: ListenAddress
    reloading: SettingsReloader | None


@asynccontextmanager
async def run_edge(
    settings: Settings,
    *,
    log: Logger,
    clock: Clock | None = None,
    source: SettingsSource | None = None,
) -> AsyncIterator[Edge]:
    """Run an edge; leaving the context drains it. Without a source, its settings stay as they are.

    Raises:
        ListenFailed: a port is taken, or not ours to open.
    """
    async with AsyncExitStack() as stack:
        apps = await stack.enter_async_context(open_apps(settings, log=log, clock=clock or Clock()))
        # The operator port opens first and closes last: it is how one sees the other one drain.
        operator = await stack.enter_async_context(
            _open_port(apps.operator, parse_listen(settings.operator.listen), settings)
        )
        player = await stack.enter_async_context(
            _open_port(apps.player, parse_listen(settings.web.listen), settings)
        )
        file = None if source is None or source.path is None else str(source.path)
        log.info(
            "serving",
            player=str(player),
            operator=str(operator),
            sandbox=settings.sandbox,
            settings=file,
        )
        reloading = None if source is None else SettingsReloader(apps, settings, source)
        watching = None if reloading is None else asyncio.create_task(reloading.watch())
        try:
            yield Edge(apps, player, operator, reloading)
        finally:
            if watching is not None:
                watching.cancel()
            apps.process.telemetry.health.is_draining = True
            log.info("draining")


@asynccontextmanager
async def _open_port(
    app: web.Application, listen: ListenAddress, settings: Settings
) -> AsyncIterator[ListenAddress]:
    runner = web.AppRunner(
        app, handler_cancellation=True, shutdown_timeout=settings.web.drain_timeout
    )
    await runner.setup()
    assert runner.server is not None  # noqa: S101  # set up, one line above
    connect = partial(
        Connection,
        runner.server,
        app,
        keepalive_timeout=settings.web.keepalive_timeout,
        max_line_size=MAX_REQUEST_LINE_BYTES,
        max_field_size=MAX_HEADER_BYTES,
        # No body is inflated or waited for; only POST /tokens and /revocations take one.
        auto_decompress=False,
        lingering_time=0,
    )
    try:
        opened = _open_socket(listen)
        loop = asyncio.get_running_loop()
        create = loop.create_unix_server if listen.path else loop.create_server
        server = await create(connect, sock=opened, backlog=BACKLOG)
        port = 0 if listen.path else opened.getsockname()[1]
        ours = _identify_file(listen.path)
        try:
            yield ListenAddress(listen.host, port, listen.path)
        finally:
            server.close()
            await app[PORT].connections.wait_for_headers(DRAIN_GRACE_SECONDS)
            if listen.path and _identify_file(listen.path) == ours:  # a newer edge's socket stays
                os.unlink(listen.path)  # noqa: PTH108  # no wait is worth a thread here
    finally:
        await runner.cleanup()


def _open_socket(listen: ListenAddress) -> socket.socket:
    tcp = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    opened = socket.socket(socket.AF_UNIX if listen.path else tcp, socket.SOCK_STREAM)
    try:
        if listen.path:
            _remove_stale_socket(listen.path)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(listen.path or (listen.host, listen.port))
    except OSError as error:
        opened.close()
        raise ListenError(f"cannot listen on {listen}: {error.strerror or error}") from None
    return opened


def _remove_stale_socket(path: str) -> None:
    """Remove what a killed process left. One that answers, or any other file, stays."""
    if not Path(path).is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()


def _identify_file(path: str) -> tuple[int, int] | None:
    """Return what tells the file at a path from any other; None where there is none."""
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
