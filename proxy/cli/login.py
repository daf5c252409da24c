"""playgate login and logout: let a public API key act for a channel, and take that back."""

from __future__ import annotations

import asyncio
import secrets
import webbrowser
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from html import escape
from pathlib import Path
from typing import Annotated

import typer
from aiohttp import web
from yarl import URL

from proxy.adapters.dailymotion.oauth import GrantRefused, authorize_url
from proxy.cli.account import at_the_desk
from proxy.cli.options import Config, fail, printable, settings_or_exit, why
from proxy.domain.callback import AuthorizationDenied, CallbackRefused, read_callback
from proxy.domain.reasons import Refusal
from proxy.settings import Settings
from proxy.settings.listen import is_loopback_host

LONGEST_WAIT = 600.0  # seconds for somebody to find their password

PAGE = (
    "<!doctype html><html lang='en'><meta charset='utf-8'>"
    "<meta name='viewport' content='width=device-width, initial-scale=1'>"
    "<title>Playgate login</title><link rel='icon' href='data:,'>"
    "<style>body {{ font: 1.1rem/1.5 system-ui, sans-serif; max-width: 32rem; margin: 20vh auto; "
    "padding: 0 1rem; color-scheme: light dark }}</style><h1>{title}</h1><p>{text}</p></html>"
)
# The address of the page bears a code: it goes nowhere, and is not kept.
PAGE_HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}


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
    """Log in to Dailymotion, so that a public API key may act for your channel."""
    settings = settings_or_exit(config)
    check_grant(settings, "login")
    callback = URL(settings.platform.redirect_uri)
    if not paste and (callback.scheme != "http" or not is_loopback_host(callback.host or "")):
        fail(
            "platform.redirect_uri does not lead to this machine: "
            "run playgate login --paste and paste the address that the browser ends up at"
        )
    try:
        granted = asyncio.run(run_login(settings, callback, browser=browser, paste=paste))
    except (CallbackRefused, AuthorizationDenied) as refused:
        fail(f"not logged in: {refused}")
    except Refusal as refusal:
        fail(f"not logged in: {why(refusal)}")
    except TimeoutError:
        fail(f"not logged in: nobody came back within {LONGEST_WAIT:g} seconds")
    typer.echo(f"Logged in; the login is kept in {settings.platform.login_file}.")
    typer.echo(printable(granted))
    typer.echo("A running edge finds it within half a minute.")


def logout(config: Config = None) -> None:
    """Void the login at Dailymotion, and forget it here."""
    settings = settings_or_exit(config)
    check_grant(settings, "logout")
    try:
        was_good = asyncio.run(run_logout(settings))
    except Refusal as refusal:
        file = Path(settings.platform.login_file)
        kept = f"; {file} is kept" if file.exists() else ""
        fail(f"not logged out: {why(refusal)}{kept}")
    typer.echo("Logged out." if was_good else "The login was void already; it is forgotten here.")


def check_grant(settings: Settings, command: str) -> None:
    """Exit where there is nothing to log in to."""
    grant = settings.platform.grant
    if grant != "authorization_code":
        fail(
            f'playgate {command} is for platform.grant = "authorization_code", with a public API '
            f"key; {grant} needs no login"
        )


async def run_login(settings: Settings, callback: URL, *, browser: bool, paste: bool) -> str:
    """Return whose login it is and what for, once it is on the disk."""
    state = secrets.token_urlsafe(32)
    async with at_the_desk(settings) as desk:
        await desk.check_file()
        url = authorize_url(
            settings.platform.endpoints.authorize_url,
            desk.endpoint.client,
            settings.platform.redirect_uri,
            state,
        )
        if paste:
            await show(url, browser=browser)
            address = typer.prompt("The address that it ends up at")
            return await desk.log_in(read_callback(query_of(address), state=state))
        async with listening(callback, state, desk.log_in) as outcome:
            await show(url, browser=browser)
            async with asyncio.timeout(LONGEST_WAIT):
                return await outcome


async def run_logout(settings: Settings) -> bool:
    """Return whether there was a good login to void."""
    async with at_the_desk(settings) as desk:
        try:
            await desk.log_out()
        except GrantRefused:
            return False
        return True


async def show(url: str, *, browser: bool) -> None:
    """Say where to go, and go there; a browser in a terminal keeps its thread until it is left."""
    typer.echo(f"Log in to Dailymotion at\n\n  {url}\n")
    if browser and not await asyncio.to_thread(webbrowser.open, url):
        typer.echo("There is no browser to open here; copy the address into one.")


def query_of(address: str) -> list[tuple[str, str]]:
    """Return the query of a pasted address."""
    try:
        return list(URL(address.strip()).query.items())
    except ValueError:
        raise CallbackRefused("This is no address.") from None


@asynccontextmanager
async def listening(
    callback: URL, state: str, log_in: Callable[[str], Awaitable[str]]
) -> AsyncIterator[asyncio.Future[str]]:
    """Listen for the browser's return; yield what becomes of it.

    What has the wrong state is told so and changes nothing: anybody may send a browser here.
    """
    outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    taken: set[str] = set()  # a code is shown to Dailymotion once

    async def come_back(request: web.Request) -> web.Response:
        if request.path != callback.path:
            raise web.HTTPNotFound
        try:
            code = read_callback(list(request.query.items()), state=state)
        except CallbackRefused as refused:
            typer.echo(f"Refused a callback: {refused}", err=True)
            return page("Refused", f"{refused} Go back, and use the address that was printed.", 400)
        except AuthorizationDenied as denied:
            return end(denied, "Not logged in", str(denied))
        if taken:
            return page("Done already", "This login was answered before. Look there.", 400)
        taken.add(code)
        try:
            granted = await log_in(code)
        except Refusal as refusal:
            return end(refusal, "Not logged in", refusal.message)
        outcome.set_result(granted)
        return page("Logged in", "Playgate may act for your channel. You can close this window.")

    def end(error: Exception, title: str, text: str) -> web.Response:
        if not outcome.done():
            outcome.set_exception(error)
        return page(title, f"{text} The terminal says more.", 400)

    app = web.Application()
    # As any path: aiohttp would take braces in ours for a pattern. No HEAD: it uses a code up.
    app.router.add_get("/{path:.*}", come_back, allow_head=False)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, callback.host, callback.port).start()
        except OSError as error:
            fail(
                f"cannot listen on {callback.authority} for the browser's return: {error.strerror}"
            )
        yield outcome
    finally:
        await runner.cleanup()


def page(title: str, text: str, status: int = 200) -> web.Response:
    """Return what the browser shows at the end."""
    return web.Response(
        text=PAGE.format(title=escape(title), text=escape(text)),
        status=status,
        content_type="text/html",
        headers=PAGE_HEADERS,
    )
