"""An account from the command line: its token endpoint, its calls, its login."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from proxy.adapters.clock import Clock
from proxy.adapters.dailymotion.account import AccountApi
from proxy.adapters.dailymotion.logins import Login, LoginFile
from proxy.adapters.dailymotion.oauth import GrantRefused, TokenEndpoint, authorize_url
from proxy.adapters.dailymotion.renewals import PATIENCE, obtain, renew
from proxy.adapters.logs import build_logger
from proxy.app import open_api_session
from proxy.domain.reasons import Reason, Refusal
from proxy.settings import Settings
from proxy.wiring.instruments import build_instruments
from proxy.wiring.platform import build_login_file, build_patient_exchange, build_token_endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountDesk:
    """What logs in and out."""

    endpoint: TokenEndpoint
    api: AccountApi
    file: LoginFile
    clock: Clock
    redirect_uri: str

    def authorize_url(self, state: str) -> str:
        """Return where to log in."""
        return authorize_url(self.endpoint, self.redirect_uri, state)

    async def check_file(self) -> None:
        """Refuse where the login could not be kept: before anybody is sent to log in."""
        async with self._held() as login:
            login.prepare()

    async def log_in(self, code: str) -> str:
        """Exchange a code, keep the login, and return whose it is and for what; or refuse."""
        async with self._held() as login:
            token = await obtain(
                login,
                self.endpoint,
                "authorization_code",
                deadline=self._deadline(),
                code=code,
                redirect_uri=self.redirect_uri,
            )
        if not token.refresh_token:
            raise Refusal(Reason.PLATFORM_BAD_ANSWER, "token endpoint: no refresh_token")
        try:
            identity = await self.api.fetch_identity(token.value, deadline=self._deadline())
        except Refusal:  # it is kept all the same
            return f"Granted: {token.scope or 'Dailymotion does not say what'}."
        return f"Account {identity.channel_id}; granted: {', '.join(identity.scopes) or 'nothing'}."

    async def log_out(self) -> None:
        """Void the login and forget it, or refuse.

        Raises:
            GrantRefused: it was void already; it is forgotten all the same.
        """
        async with self._held() as login:
            try:
                token = await renew(login, self.endpoint, deadline=self._deadline())
            except GrantRefused:
                login.remove()
                raise
            await self.api.revoke(token.value, deadline=self._deadline())
            login.remove()

    def _held(self) -> AbstractAsyncContextManager[Login]:
        return self.file.locked(deadline=self._deadline())

    def _deadline(self) -> float:
        return self.clock.monotonic() + PATIENCE


@asynccontextmanager
async def at_the_desk(settings: Settings) -> AsyncIterator[AccountDesk]:
    """Open the way to Dailymotion's account calls."""
    instruments = build_instruments(build_logger(io.StringIO()), Clock())
    async with open_api_session(settings) as session:
        exchange = build_patient_exchange(session, instruments)
        yield AccountDesk(
            endpoint=build_token_endpoint(settings.platform, exchange),
            api=AccountApi(exchange, settings.platform.endpoints.rest_url),
            file=build_login_file(settings, instruments.clock),
            clock=instruments.clock,
            redirect_uri=settings.platform.redirect_uri,
        )
