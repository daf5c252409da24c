"""The end of a login in the browser: it comes back to an address of this machine, with a code."""

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
from proxy.domain.callback import AuthorizationDenied, CallbackRefused, read_callback
from proxy.domain.reasons import Refusal

PAGE = (
    "<!doctype html><html lang='en'><meta charset='utf-8'>"
    "<meta name='viewport' content='width=device-width, initial-scale=1'>"
    "<title>Playgate login</title><link rel='icon' href='data:,'>"
    "<style>body {{ font: 1.1rem/1.5 system-ui, sans-serif; max-width: 32rem; margin: 20vh auto; "
    "padding: 0 1rem; color-scheme: light dark }}</style><h1>{title}</h1><p>{text}</p></html>"
)
# The address of the page bears a code: it goes nowhere, and is not kept.
PAGE_HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}

LogIn = Callable[[str], Coroutine[Any, Any, str]]


class BrowserReturn:
    """Sees to whoever comes back; the first good answer counts, and its end is the `outcome`.

    What has the wrong state is told so and changes nothing: anybody may send a browser here.
    """

    def __init__(self, path: str, state: str, log_in: LogIn) -> None:
        self._path = path
        self._state = state
        self._log_in = log_in
        self._exchange: asyncio.Task[str] | None = None
        self.outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def answer(self, request: web.Request) -> web.Response:
        """Answer a browser."""
        if request.path != self._path:
            raise web.HTTPNotFound
        try:
            code = read_callback(list(request.query.items()), state=self._state)
        except CallbackRefused as refused:
            typer.echo(f"Refused a callback: {refused}", err=True)
            return page("Refused", f"{refused} Go back, and use the address that was printed.", 400)
        except AuthorizationDenied as denied:
            return self._done_already() or self._failed(denied, str(denied))
        return self._done_already() or await self._exchanged(code)

    async def close(self) -> None:
        """Give up an exchange that waits for the file; one that was asked for is seen through."""
        if self._exchange is not None:
            self._exchange.cancel()
            await asyncio.gather(self._exchange, return_exceptions=True)

    def _done_already(self) -> web.Response | None:
        if self._exchange is None and not self.outcome.done():
            return None
        return page("Done already", "This login was answered before. Look there.", 400)

    async def _exchanged(self, code: str) -> web.Response:
        self._exchange = asyncio.create_task(self._log_in(code))
        await asyncio.wait([self._exchange])
        if self._exchange.cancelled():
            return page("Stopped", "Playgate was stopped meanwhile. The terminal says more.", 503)
        if (error := self._exchange.exception()) is not None:
            text = error.message if isinstance(error, Refusal) else "Something went wrong here."
            return self._failed(error, text)
        self.outcome.set_result(self._exchange.result())
        return page("Logged in", "Playgate may act for your channel. You can close this window.")

    def _failed(self, error: BaseException, text: str) -> web.Response:
        self.outcome.set_exception(error)
        return page("Not logged in", f"{text} The terminal says more.", 400)


@asynccontextmanager
async def listening(callback: URL, state: str, log_in: LogIn) -> AsyncIterator[asyncio.Future[str]]:
    """Listen for the browser's return; yield what becomes of it."""
    browser_return = BrowserReturn(callback.path, state, log_in)
    app = web.Application()
    # As any path: aiohttp would take braces in ours for a pattern. No HEAD: it uses a code up.
    app.router.add_get("/{path:.*}", browser_return.answer, allow_head=False)
    silent = logging.getLogger("playgate.callback")
    silent.disabled = True  # aiohttp shows a malformed request, and any page may send one here
    runner = web.AppRunner(app, access_log=None, logger=silent, shutdown_timeout=1)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, callback.host, callback.port).start()
        except OSError as error:
            fail(
                f"cannot listen on {callback.authority} for the browser's return: {error.strerror}"
            )
        yield browser_return.outcome
    finally:
        await browser_return.close()
        await runner.cleanup()


def page(title: str, text: str, status: int = 200) -> web.Response:
    """Return what the browser shows at the end."""
    return web.Response(
        text=PAGE.format(title=escape(title), text=escape(text)),
        status=status,
        content_type="text/html",
        headers=PAGE_HEADERS,
    )
