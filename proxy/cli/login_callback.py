"""The HTTP server on this machine that receives the browser's redirect after a login."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from html import escape
from typing import Any

import typer
from aiohttp import web
from yarl import URL

from proxy.cli.options import fail
from proxy.domain.oauth_callback import AuthorizationDenied, CallbackInvalid, read_callback
from proxy.domain.reasons import Refusal
from proxy.web.problem_details import build_html_page

# The URL of the page contains a code, so it must not be cached or sent as a referrer.
PAGE_HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}

LogIn = Callable[[str], Coroutine[Any, Any, str]]


class CallbackServer:
    """Handles the browser's redirect; the first valid callback decides the `outcome`.

    A callback with the wrong state is refused and changes nothing: any web page may send a browser
    here.
    """

    def __init__(self, path: str, state: str, log_in: LogIn) -> None:
        self._path = path
        self._state = state
        self._log_in = log_in
        self._exchange: asyncio.Task[str] | None = None
        self.outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def handle_callback(self, request: web.Request) -> web.Response:
        """Handle a request of the browser, and respond with a page."""
        if request.path != self._path:
            raise web.HTTPNotFound
        try:
            code = read_callback(list(request.query.items()), state=self._state)
        except CallbackInvalid as error:
            typer.echo(f"Refused a callback: {error}", err=True)
            return build_page(
                "Refused", f"{error} Open the URL that playgate login has printed.", 400
            )
        except AuthorizationDenied as denied:
            return self._build_repeat_page() or self._fail(denied, str(denied))
        return self._build_repeat_page() or await self._exchange_code(code)

    async def close(self) -> None:
        """Cancel an exchange that waits for the file lock; an exchange in flight is completed."""
        if self._exchange is not None:
            self._exchange.cancel()
            await asyncio.gather(self._exchange, return_exceptions=True)

    def _build_repeat_page(self) -> web.Response | None:
        if self._exchange is None and not self.outcome.done():
            return None
        return build_page("Already handled", "Another page has handled this login.", 400)

    async def _exchange_code(self, code: str) -> web.Response:
        self._exchange = asyncio.create_task(self._log_in(code))
        await asyncio.wait([self._exchange])
        if self._exchange.cancelled():
            return build_page(
                "Stopped", "playgate login was stopped. See the terminal for details.", 503
            )
        if (error := self._exchange.exception()) is not None:
            text = error.message if isinstance(error, Refusal) else "The login failed."
            return self._fail(error, text)
        self.outcome.set_result(self._exchange.result())
        return build_page(
            "Logged in", "Playgate may now act for your channel. You can close this window."
        )

    def _fail(self, error: BaseException, text: str) -> web.Response:
        self.outcome.set_exception(error)
        return build_page("Not logged in", f"{text} See the terminal for details.", 400)


@asynccontextmanager
async def listen_for_callback(
    callback: URL, state: str, log_in: LogIn
) -> AsyncIterator[asyncio.Future[str]]:
    """Listen for the browser's redirect; yield the future result of the login."""
    server = CallbackServer(callback.path, state, log_in)
    app = web.Application()
    # Any path: aiohttp reads braces in a path as a pattern. No HEAD: it would use up the code.
    app.router.add_get("/{path:.*}", server.handle_callback, allow_head=False)
    disabled_logger = logging.getLogger("playgate.callback")
    disabled_logger.disabled = True  # aiohttp would log malformed requests, and they may be forged
    runner = web.AppRunner(app, access_log=None, logger=disabled_logger, shutdown_timeout=1)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, callback.host, callback.port).start()
        except OSError as error:
            fail(
                f"cannot listen on {callback.authority} for the browser: {error.strerror}. "
                "Stop the server on this port, or run playgate login --paste"
            )
        yield server.outcome
    finally:
        await server.close()
        await runner.cleanup()


def build_page(title: str, text: str, status: int = 200) -> web.Response:
    """Build the page that the browser shows at the end."""
    return web.Response(
        text=build_html_page("Playgate login", escape(title), escape(text)),
        status=status,
        content_type="text/html",
        headers=PAGE_HEADERS,
    )
