"""Run a sandbox on a port of this machine."""

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
    """Run a sandbox; its origin is known once it listens. With `tls` it is https://localhost.

    Raises:
        OSError: the port is taken.
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
