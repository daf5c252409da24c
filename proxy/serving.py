"""Run an edge on its two ports; on shutdown, drain it.

Draining: `/readyz` reports not ready, the listeners close, and every request whose header was read
gets its response, with `Connection: close`. A connection that nginx opened before it noticed is
reset, and nginx retries on the other edge.
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
# Time for a connection accepted just before shutdown to deliver its request header.
DRAIN_GRACE_SECONDS = 0.25
MAX_REQUEST_LINE_BYTES = 8 * 1024  # as in nginx, which responds 414 to a longer line
MAX_HEADER_BYTES = 16 * 1024  # large, because cookies of other services are included


class ListenError(Exception):
    """A port could not be opened; the message names the address and the cause."""


@dataclass(frozen=True, slots=True)
class Edge:
    """A running edge and the addresses it listens on."""

    apps: Apps
    player: ListenAddress
    operator: ListenAddress
    reloader: SettingsReloader | None


@asynccontextmanager
async def run_edge(
    settings: Settings,
    *,
    log: Logger,
    clock: Clock | None = None,
    source: SettingsSource | None = None,
) -> AsyncIterator[Edge]:
    """Run an edge; leaving the context drains it. Without `source`, settings are not reloaded.

    Raises:
        ListenError: a port is in use, or this process has no permission to open it.
    """
    async with AsyncExitStack() as stack:
        apps = await stack.enter_async_context(open_apps(settings, log=log, clock=clock or Clock()))
        # The operator port opens first and closes last: health checks and metrics stay available
        # while the player port drains.
        operator = await stack.enter_async_context(
            _open_port(apps.operator, parse_listen(settings.operator.listen), settings)
        )
        player = await stack.enter_async_context(
            _open_port(apps.player, parse_listen(settings.web.listen), settings)
        )
        settings_path = None if source is None or source.path is None else str(source.path)
        log.info(
            "serving",
            player=str(player),
            operator=str(operator),
            sandbox=settings.sandbox,
            settings=settings_path,
        )
        reloader = None if source is None else SettingsReloader(apps, settings, source)
        watch_task = None if reloader is None else asyncio.create_task(reloader.watch())
        try:
            yield Edge(apps, player, operator, reloader)
        finally:
            if watch_task is not None:
                watch_task.cancel()
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
    assert runner.server is not None  # noqa: S101  # set by setup(), one line above
    connect = partial(
        Connection,
        runner.server,
        app,
        keepalive_timeout=settings.web.keepalive_timeout,
        max_line_size=MAX_REQUEST_LINE_BYTES,
        max_field_size=MAX_HEADER_BYTES,
        # Bodies are never decompressed, and unread ones not waited for: only POST /tokens and
        # /revocations take a body.
        auto_decompress=False,
        lingering_time=0,
    )
    try:
        listener = _open_socket(listen)
        loop = asyncio.get_running_loop()
        create_server = loop.create_unix_server if listen.path else loop.create_server
        server = await create_server(connect, sock=listener, backlog=BACKLOG)
        port = 0 if listen.path else listener.getsockname()[1]
        socket_file = _identify_file(listen.path)
        try:
            yield ListenAddress(listen.host, port, listen.path)
        finally:
            server.close()
            await app[PORT].connections.wait_for_headers(DRAIN_GRACE_SECONDS)
            # Unless a newer edge has replaced the socket file.
            if listen.path and _identify_file(listen.path) == socket_file:
                os.unlink(listen.path)  # noqa: PTH108  # too short to need a thread
    finally:
        await runner.cleanup()


def _open_socket(listen: ListenAddress) -> socket.socket:
    tcp_family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    listener = socket.socket(socket.AF_UNIX if listen.path else tcp_family, socket.SOCK_STREAM)
    try:
        if listen.path:
            _remove_stale_socket(listen.path)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(listen.path or (listen.host, listen.port))
    except OSError as error:
        listener.close()
        raise ListenError(f"cannot listen on {listen}: {error.strerror or error}") from None
    return listener


def _remove_stale_socket(path: str) -> None:
    """Remove the socket file of a killed process; keep a socket in use, and any other file."""
    if not Path(path).is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()


def _identify_file(path: str) -> tuple[int, int] | None:
    """Return the device and inode of a file, or None if the file does not exist."""
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
