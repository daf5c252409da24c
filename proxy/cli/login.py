"""playgate login and logout: OAuth 2.0 login in a browser that is redirected to this machine."""

import asyncio
import os
import secrets
import webbrowser
from pathlib import Path
from threading import Thread
from typing import Annotated

import typer
from yarl import URL

from proxy.adapters.dailymotion.token_endpoint import GrantRefused
from proxy.adapters.errors import StateError
from proxy.cli.account import open_account
from proxy.cli.login_callback import listen_for_callback
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

LOGIN_TIMEOUT_SECONDS = 600.0  # enough to look up a password


def login(
    browser: Annotated[
        bool, typer.Option(help="Open the login page in a browser, or only print its URL.")
    ] = True,
    paste: Annotated[
        bool,
        typer.Option(
            "--paste",
            help="For a browser on another machine: prompt for the URL that it is redirected to.",
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
            "run playgate login --paste and paste the URL that the browser is redirected to"
        )
    try:
        account = log_in(settings, callback, browser=browser, paste=paste)
    except (CallbackInvalid, AuthorizationDenied) as error:
        fail(f"not logged in: {error}")
    except (Refusal, StateError) as error:
        fail(f"not logged in: {describe_failure(error)}")
    except TimeoutError:
        fail(
            f"not logged in: the browser did not return within {LOGIN_TIMEOUT_SECONDS:g} seconds. "
            "Run playgate login again"
        )
    typer.echo(f"Logged in. The login is stored in {settings.platform.login_file}.")
    typer.echo(to_printable(account))
    typer.echo("An edge without an access token uses the login within half a minute.")


def logout(config: Config = None) -> None:
    """Revoke the login at Dailymotion, and delete its file."""
    settings = load_settings_or_exit(config)
    _check_grant(settings, "logout")
    try:
        was_valid = run(log_out(settings))
    except (Refusal, StateError) as error:
        file = Path(settings.platform.login_file)
        suffix = f"; {file} is kept" if os.path.lexists(file) else ""
        fail(f"not logged out: {describe_failure(error)}{suffix}")
    if was_valid:
        typer.echo("Logged out.")
    else:
        typer.echo("The login was no longer valid. It is deleted on this machine.")


def _check_grant(settings: Settings, command: str) -> None:
    grant = settings.platform.grant
    if grant != "authorization_code":
        fail(
            f'playgate {command} is for platform.grant = "authorization_code", with a public API '
            f"key; the configured grant {grant} needs no login"
        )


def log_in(settings: Settings, callback: URL, *, browser: bool, paste: bool) -> str:
    """Log in, store the login, and return a line with its account and scopes."""
    state = secrets.token_urlsafe(32)
    if not paste:
        return run(_wait_for_browser(settings, callback, state, browser=browser))

    async def start_login() -> None:
        async with open_account(settings) as account:
            await account.check_file()
            show_login_url(account.build_authorize_url(state), browser=browser)

    async def exchange(code: str) -> str:
        async with open_account(settings) as account:
            return await account.log_in(code)

    run(start_login())
    url = typer.prompt("Paste the URL that the browser was redirected to")
    return run(exchange(read_callback(parse_pasted_query(url), state=state)))


async def _wait_for_browser(settings: Settings, callback: URL, state: str, *, browser: bool) -> str:
    async with open_account(settings) as account:
        await account.check_file()
        async with listen_for_callback(callback, state, account.log_in) as outcome:
            show_login_url(account.build_authorize_url(state), browser=browser)
            async with asyncio.timeout(LOGIN_TIMEOUT_SECONDS):
                return await outcome


async def log_out(settings: Settings) -> bool:
    """Log out; return whether the login was still valid."""
    async with open_account(settings) as account:
        try:
            await account.log_out()
        except GrantRefused:
            return False
        return True


def show_login_url(url: str, *, browser: bool) -> None:
    """Print the URL of the login page, and open it in a browser."""
    typer.echo(f"Log in to Dailymotion at\n\n  {url}\n")
    if browser:  # a terminal browser blocks its thread until it is closed
        Thread(target=_open_browser, args=[url], daemon=True).start()


def _open_browser(url: str) -> None:
    if not webbrowser.open(url):
        typer.echo("No browser could be opened. Copy the URL into a browser.")


def parse_pasted_query(url: str) -> list[tuple[str, str]]:
    """Parse the query of a pasted URL.

    Raises:
        CallbackInvalid: The text is not a URL.
    """
    try:
        return list(URL(url.strip()).query.items())
    except ValueError:
        raise CallbackInvalid("This is not a URL.") from None
