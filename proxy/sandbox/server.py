"""Serve a sandbox on a local port."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ssl import SSLContext

from aiohttp import web

from proxy.sandbox.app import build_sandbox
from proxy.sandbox.state import Sandbox

HOST = "127.0.0.1"


@asynccontextmanager
async def run_sandbox(
    sandbox: Sandbox, *, port: int = 0, tls: SSLContext | None = None
) -> AsyncIterator[Sandbox]:
    """Serve a sandbox on 127.0.0.1 and set its `origin` once the port is open.

    Port 0 picks a free port. With `tls`, the origin is https://localhost.

    Raises:
        OSError: the port is already in use.
    """
    runner = web.AppRunner(build_sandbox(sandbox), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, HOST, port, backlog=1024, ssl_context=tls)
        await site.start()
        origin = f"http://{HOST}" if tls is None else "https://localhost"
        sandbox.origin = f"{origin}:{runner.addresses[0][1]}"
        yield sandbox
    finally:
        await runner.cleanup()
