"""playgate login and logout: the browser returns to this machine with the code."""

import asyncio
import logging
import os
import secrets
import webbrowser
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from html import escape
from pathlib import Path
from threading import Thread
from typing import Annotated, Any

import typer
from aiohttp import web
from yarl import URL

from proxy.adapters.dailymotion.token_endpoint import GrantRefused
from proxy.adapters.errors import StateError
from proxy.cli.account import open_account
from proxy.cli.options import (
    Config,
    describe_failure,
    fail,
    load_settings_or_exit,
    run,
    to_printable,
)
from proxy.domain.oauth_callback import AuthorizationDenied, CallbackInvalid, read_callback
from proxy.domain.reasons import Refusal
from proxy.settings import Settings
from proxy.settings.value_checks import is_loopback_host
from proxy.web.problem_details import build_html_page

LOGIN_TIMEOUT_SECONDS = 600.0  # seconds for somebody to find their password


def login(
    browser: Annotated[
        bool, typer.Option(help="Open the page, rather than only print its address.")
    ] = True,
    paste: Annotated[
        bool,
        typer.Option(
            "--paste",
            help="Ask for the address that the browser was sent to, rather than listen for it: "
            "for a browser on another machine.",
        ),
    ] = False,
    config: Config = None,
) -> None:
    """Log in to Dailymotion with a public API key."""
    settings = load_settings_or_exit(config)
    _check_grant(settings, "login")
    callback = URL(settings.platform.redirect_uri)
    if not paste and (callback.scheme != "http" or not is_loopback_host(callback.host or "")):
        fail(
            "platform.redirect_uri does not lead to this machine: "
            "run playgate login --paste and paste the address that the browser ends up at"
        )
    try:
        granted = log_in(settings, callback, browser=browser, paste=paste)
    except (CallbackInvalid, AuthorizationDenied) as refused:
        fail(f"not logged in: {refused}")
    except (Refusal, StateError) as error:
        fail(f"not logged in: {describe_failure(error)}")
    except TimeoutError:
        fail(f"not logged in: nobody came back within {LOGIN_TIMEOUT_SECONDS:g} seconds")
    typer.echo(f"Logged in; the login is kept in {settings.platform.login_file}.")
    typer.echo(to_printable(granted))
    typer.echo("A running edge finds it within half a minute.")


def logout(config: Config = None) -> None:
    """Void the login at Dailymotion and delete it here."""
    settings = load_settings_or_exit(config)
    _check_grant(settings, "logout")
    try:
        was_good = run(log_out(settings))
    except (Refusal, StateError) as error:
        file = Path(settings.platform.login_file)
        kept = f"; {file} is kept" if os.path.lexists(file) else ""
        fail(f"not logged out: {describe_failure(error)}{kept}")
    typer.echo("Logged out." if was_good else "The login was void already; it is forgotten here.")


def _check_grant(settings: Settings, command: str) -> None:
    grant = settings.platform.grant
    if grant != "authorization_code":
        fail(
            f'playgate {command} is for platform.grant = "authorization_code", with a public API '
            f"key; {grant} needs no login"
        )


def log_in(settings: Settings, callback: URL, *, browser: bool, paste: bool) -> str:
    """Return whose login it is and what for, once it is on the disk."""
    state = secrets.token_urlsafe(32)
    if not paste:
        return run(_wait_for_browser(settings, callback, state, browser=browser))

    async def send_off() -> None:
        async with open_account(settings) as desk:
            await desk.check_file()
            show_login_url(desk.build_authorize_url(state), browser=browser)

    async def exchange(code: str) -> str:
        async with open_account(settings) as desk:
            return await desk.log_in(code)

    run(send_off())
    address = typer.prompt("The address that it ends up at")
    return run(exchange(read_callback(parse_pasted_query(address), state=state)))


async def _wait_for_browser(settings: Settings, callback: URL, state: str, *, browser: bool) -> str:
    async with open_account(settings) as desk:
        await desk.check_file()
        async with listen_for_callback(callback, state, desk.log_in) as outcome:
            show_login_url(desk.build_authorize_url(state), browser=browser)
            async with asyncio.timeout(LOGIN_TIMEOUT_SECONDS):
                return await outcome


async def log_out(settings: Settings) -> bool:
    """Return whether there was a good login to void."""
    async with open_account(settings) as desk:
        try:
            await desk.log_out()
        except GrantRefused:
            return False
        return True


def show_login_url(url: str, *, browser: bool) -> None:
    """Say where to go, and go there."""
    typer.echo(f"Log in to Dailymotion at\n\n  {url}\n")
    if browser:  # one in a terminal keeps its thread until it is left, and nobody waits for it
        Thread(target=_open_browser, args=[url], daemon=True).start()


def _open_browser(url: str) -> None:
    if not webbrowser.open(url):
        typer.echo("There is no browser to open here; copy the address into one.")


def parse_pasted_query(address: str) -> list[tuple[str, str]]:
    """Return the query of a pasted address."""
    try:
        return list(URL(address.strip()).query.items())
    except ValueError:
        raise CallbackInvalid("This is no address.") from None


# The address of the page bears a code: it goes nowhere, and is not kept.
PAGE_HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}

LogIn = Callable[[str], Coroutine[Any, Any, str]]


class CallbackServer:
    """Sees to whoever comes back; the first good answer counts, and its end is the `outcome`.

    What has the wrong state is told so and changes nothing: anybody may send a browser here.
    """

    def __init__(self, path: str, state: str, log_in: LogIn) -> None:
        self._path = path
        self._state = state
        self._log_in = log_in
        self._exchange: asyncio.Task[str] | None = None
        self.outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def handle_callback(self, request: web.Request) -> web.Response:
        """Answer a browser."""
        if request.path != self._path:
            raise web.HTTPNotFound
        try:
            code = read_callback(list(request.query.items()), state=self._state)
        except CallbackInvalid as refused:
            typer.echo(f"Refused a callback: {refused}", err=True)
            return build_page(
                "Refused", f"{refused} Go back, and use the address that was printed.", 400
            )
        except AuthorizationDenied as denied:
            return self._build_repeat_page() or self._fail(denied, str(denied))
        return self._build_repeat_page() or await self._exchange_code(code)

    async def close(self) -> None:
        """Give up an exchange that waits for the file; one that was asked for is seen through."""
        if self._exchange is not None:
            self._exchange.cancel()
            await asyncio.gather(self._exchange, return_exceptions=True)

    def _build_repeat_page(self) -> web.Response | None:
        if self._exchange is None and not self.outcome.done():
            return None
        return build_page("Done already", "This login was answered before. Look there.", 400)

    async def _exchange_code(self, code: str) -> web.Response:
        self._exchange = asyncio.create_task(self._log_in(code))
        await asyncio.wait([self._exchange])
        if self._exchange.cancelled():
            return build_page(
                "Stopped", "Playgate was stopped meanwhile. The terminal says more.", 503
            )
        if (error := self._exchange.exception()) is not None:
            text = error.message if isinstance(error, Refusal) else "Something went wrong here."
            return self._fail(error, text)
        self.outcome.set_result(self._exchange.result())
        return build_page(
            "Logged in", "Playgate may act for your channel. You can close this window."
        )

    def _fail(self, error: BaseException, text: str) -> web.Response:
        self.outcome.set_exception(error)
        return build_page("Not logged in", f"{text} The terminal says more.", 400)


@asynccontextmanager
async def listen_for_callback(
    callback: URL, state: str, log_in: LogIn
) -> AsyncIterator[asyncio.Future[str]]:
    """Listen for the browser's return; yield what becomes of it."""
    browser_return = CallbackServer(callback.path, state, log_in)
    app = web.Application()
    # As any path: aiohttp would take braces in ours for a pattern. No HEAD: it uses a code up.
    app.router.add_get("/{path:.*}", browser_return.handle_callback, allow_head=False)
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


def build_page(title: str, text: str, status: int = 200) -> web.Response:
    """Return what the browser shows at the end."""
    return web.Response(
        text=build_html_page("Playgate login", escape(title), escape(text)),
        status=status,
        content_type="text/html",
        headers=PAGE_HEADERS,
    )
