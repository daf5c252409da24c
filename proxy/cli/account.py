"""Clients that commands use: for the account of [platform], and for that of [videos]."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from proxy.adapters.concurrency import ConcurrencyLimit
from proxy.adapters.dailymotion.account_api import AccountApi, VideosApi
from proxy.adapters.dailymotion.api_client import ApiClient
from proxy.adapters.dailymotion.api_session import open_api_session
from proxy.adapters.dailymotion.refresh_token_file import LockedRefreshToken, RefreshTokenFile
from proxy.adapters.dailymotion.refresh_token_grant import (
    TOKEN_TIMEOUT_SECONDS,
    exchange_grant,
    refresh_access_token,
)
from proxy.adapters.dailymotion.token_endpoint import GrantRefused, TokenEndpoint
from proxy.adapters.http_client import HttpClient
from proxy.adapters.telemetry import Telemetry, build_telemetry
from proxy.cli.options import describe_failure, fail, run
from proxy.domain.reasons import Reason, Refusal
from proxy.settings import Settings
from proxy.wiring import build_single_attempt_client

T = TypeVar("T")


class FixedToken:
    """Provides one access token that a command has fetched, and never refreshes it."""

    def __init__(self, value: str) -> None:
        self._value = value

    async def get_token(self) -> str:
        """Return the access token."""
        return self._value

    async def replace_token(self, refused: str, refusal: Refusal) -> str:  # noqa: ARG002  # the protocol's
        """Raise `refusal`: run the command again for a new token."""
        raise refusal


def build_client(http: HttpClient, token: str, telemetry: Telemetry) -> ApiClient:
    """Build the API client for a command's calls, with a fixed access token."""
    limit = ConcurrencyLimit(1, queue=0, max_wait=TOKEN_TIMEOUT_SECONDS)
    return ApiClient(http, FixedToken(token), limit, telemetry, timeout=TOKEN_TIMEOUT_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountClient:
    """Logs in to Dailymotion, logs out of it, and stores the login in platform.login_file."""

    http: HttpClient
    endpoint: TokenEndpoint
    file: RefreshTokenFile
    telemetry: Telemetry
    settings: Settings

    def build_authorize_url(self, state: str) -> str:
        """Return the URL of Dailymotion's login page."""
        return self.endpoint.build_authorize_url(self.settings.platform.redirect_uri, state)

    async def check_file(self) -> None:
        """Check that the login can be stored, before the user logs in.

        Raises:
            StateError: The file cannot be written.
        """
        async with self._lock_file() as login:
            login.reserve_space()

    async def log_in(self, code: str) -> str:
        """Exchange a code, store the login, and return a line with its account and scopes.

        Raises:
            Refusal: Dailymotion refuses the code, or grants no refresh token.
            StateError: The login cannot be stored.
        """
        form = {"code": code, "redirect_uri": self.settings.platform.redirect_uri}
        async with self._lock_file() as login:
            token = await exchange_grant(
                login,
                self.endpoint,
                "authorization_code",
                deadline=self._compute_deadline(),
                form=form,
            )
        if not token.refresh_token:
            raise Refusal(Reason.PLATFORM_BAD_RESPONSE, "token endpoint: no refresh_token")
        try:
            info = await self._build_api(token.value).fetch_token_info()
        except Refusal:  # the login is stored nevertheless
            return f"Scopes: {token.scope or 'not reported by Dailymotion'}."
        return f"Account {info.channel_id}; scopes: {', '.join(info.scopes) or 'none'}."

    async def log_out(self) -> None:
        """Revoke the login at Dailymotion and delete the file.

        Raises:
            GrantRefused: The login was no longer valid. The file is deleted nevertheless.
            Refusal: The login could not be revoked. The file is kept.
        """
        async with self._lock_file() as login:
            try:
                token = await refresh_access_token(
                    login, self.endpoint, deadline=self._compute_deadline()
                )
            except GrantRefused:
                login.remove()
                raise
            await self._build_api(token.value).revoke()
            login.remove()

    def _build_api(self, token: str) -> AccountApi:
        client = build_client(self.http, token, self.telemetry)
        return AccountApi(client, self.settings.platform.endpoints.rest_url)

    def _lock_file(self) -> AbstractAsyncContextManager[LockedRefreshToken]:
        return self.file.lock(deadline=self._compute_deadline())

    def _compute_deadline(self) -> float:
        return self.telemetry.clock.monotonic() + TOKEN_TIMEOUT_SECONDS


@asynccontextmanager
async def open_account(settings: Settings) -> AsyncIterator[AccountClient]:
    """Open a client that logs in to the account of [platform], and logs out of it."""
    telemetry, platform = build_telemetry(), settings.platform
    async with open_api_session(platform) as session:
        http = build_single_attempt_client(session, telemetry)
        yield AccountClient(
            http=http,
            endpoint=TokenEndpoint(http, platform, telemetry.clock),
            file=RefreshTokenFile(platform.login_file, telemetry.clock),
            telemetry=telemetry,
            settings=settings,
        )


def run_videos(settings: Settings, work: Callable[[VideosApi], Awaitable[T]]) -> T:
    """Run `work` with a client for the account of [videos]; on failure, print why and exit."""

    async def run_work() -> T:
        async with open_videos(settings) as videos:
            return await work(videos)

    try:
        return run(run_work())
    except Refusal as refusal:
        is_about_scope = refusal.reason is Reason.PLATFORM_PERMISSION
        hint = "; check videos.scope and the API key's permissions" if is_about_scope else ""
        fail(f"{describe_failure(refusal)}{hint}")
    except OSError as error:
        fail(f"a file cannot be read: {error.strerror}")


@asynccontextmanager
async def open_videos(settings: Settings) -> AsyncIterator[VideosApi]:
    """Open a client for the account of [videos].

    Exits with 1 if videos.api_key is not set.
    """
    videos = settings.videos
    if not videos.api_key:
        fail(
            "videos.api_key is not set: create an API key that manages videos, separate from the "
            "edge's, and set videos.api_key and videos.api_secret"
        )
    telemetry = build_telemetry()
    async with open_api_session(settings.platform) as session:
        http = build_single_attempt_client(session, telemetry)
        endpoint = TokenEndpoint(http, videos, telemetry.clock)
        deadline = telemetry.clock.monotonic() + TOKEN_TIMEOUT_SECONDS
        token = await endpoint.fetch_access_token(deadline=deadline)
        client = build_client(http, token.value, telemetry)
        yield VideosApi(client, videos.endpoints.rest_url, session, token.value)
