"""Access tokens: how each grant asks for one (RFC 6749), and what the token endpoint answers."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeAlias

from yarl import URL

from proxy.adapters.clock import Clock
from proxy.adapters.dailymotion.api_responses import (
    build_bad_response_refusal,
    read_error_kinds,
    read_json_object,
    to_loggable,
    to_refusal,
)
from proxy.adapters.dailymotion.refresh_token_file import is_credential
from proxy.adapters.errors import UpstreamError
from proxy.adapters.http_client import HttpClient, HttpResponse
from proxy.domain.reasons import Reason, Refusal
from proxy.settings.platform import KeyKind, PlatformConfig, VideosConfig, get_key_kind

Account: TypeAlias = PlatformConfig | VideosConfig

# A good key that may not have this scope, as against a bad key (RFC 6749, 5.2).
SCOPE_ERRORS = {"invalid_scope", "insufficient_scope", "access_denied"}
# What a key of the other kind is told: the two kinds live on hosts that do not know each other's.
KEY_ERRORS = {"invalid_client", "unauthorized_client", "unsupported_grant_type"}
KEY_HINTS: dict[KeyKind, str] = {
    "private": "this takes a private API key; a public one has other grants, see docs/accounts.md",
    "public": "this takes a public API key; for a private one, set grant to client_credentials",
}
GRANT_HINTS = {
    "password": "see username and password",
    "authorization_code": "the code was used, or is too old: run playgate login again",
    "refresh_token": "the login has lapsed or was revoked: run playgate login",
}

DEFAULT_EXPIRES_IN = 3600.0  # seconds; RFC 6749 only recommends `expires_in`
MAX_EXPIRES_IN = 10**9  # seconds, thirty years: more is not meant


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """An access token, when it expires (seconds since 1970), and what refreshes it, if anything."""

    value: str
    expires_at: float
    scope: str = ""
    refresh_token: str = ""


class GrantRefused(Refusal):
    """The key is good, and what it shows is not: a code, a login, a user (RFC 6749, 5.2)."""


class TokenEndpoint:
    """Grants access tokens to the API key of an account."""

    def __init__(self, http: HttpClient, account: Account, clock: Clock) -> None:
        self._http = http
        self._account = account
        self._clock = clock
        self._url = URL(account.endpoints.token_url)
        self.api_key = account.api_key

    async def fetch_access_token(self, *, deadline: float) -> AccessToken:
        """Return the access token for a grant for which the settings are enough, or refuse."""
        account, form = self._account, {}
        if account.grant == "password":
            form = {"username": account.username, "password": account.password.get_secret_value()}
        answer = await self.request_token(account.grant, deadline=deadline, **form)
        return self.read_token(answer, account.grant)

    async def close(self) -> None:
        """Do nothing: a grant of the settings can be asked for again."""

    async def request_token(self, grant_type: str, *, deadline: float, **form: str) -> HttpResponse:
        """Return what the endpoint answers to a grant and what that has to show, or refuse."""
        is_scoped = grant_type != "refresh_token"
        data = {
            "grant_type": grant_type,
            "client_id": self.api_key,
            "client_secret": self._account.api_secret.get_secret_value(),
            **({"scope": self._account.endpoints.scope} if is_scoped else {}),
            **form,
        }
        try:
            return await self._http.send("token", "POST", self._url, deadline=deadline, data=data)
        except UpstreamError as error:
            raise to_refusal(error) from None

    def read_token(self, answer: HttpResponse, grant_type: str) -> AccessToken:
        """Return the access token of an answer, or refuse."""
        members = read_json_object("token endpoint", answer)
        if answer.status != HTTPStatus.OK or members.get("error") is not None:
            kinds = read_error_kinds(members.get("error"))
            raise _build_refusal(
                answer.status, kinds, grant_type, get_key_kind(self._account.grant)
            )
        value = members.get("access_token")
        if not is_credential(value):
            raise build_bad_response_refusal("token endpoint: no access_token")
        expires_in = members.get("expires_in", DEFAULT_EXPIRES_IN)
        is_number = isinstance(expires_in, int | float) and not isinstance(expires_in, bool)
        if not is_number or not 0 < expires_in <= MAX_EXPIRES_IN:  # NaN is in no range
            raise build_bad_response_refusal(
                "token endpoint: expires_in is not a number of seconds"
            )
        scope = members.get("scope")
        return AccessToken(
            value=str(value),
            expires_at=self._clock.now() + expires_in,
            scope=scope if isinstance(scope, str) else "",
            refresh_token=read_refresh_token(answer),
        )

    def build_authorize_url(self, redirect_uri: str, state: str) -> str:
        """Return the page on which a user allows an application in (RFC 6749, 4.1.1).

        It lies beside the token endpoint.
        """
        query = {
            "response_type": "code",
            "client_id": self.api_key,
            "redirect_uri": redirect_uri,
            "scope": self._account.endpoints.scope,
            "state": state,
        }
        return str(self._url.with_name("authorize").with_query(query))


def read_refresh_token(answer: HttpResponse) -> str:
    """Return the refresh token of an answer, whatever else a grant says; nothing without one."""
    try:
        members = read_json_object("token endpoint", answer)
    except Refusal:
        return ""
    value = members.get("refresh_token")
    is_granted = answer.status == HTTPStatus.OK and not members.get("error")
    return str(value) if is_granted and is_credential(value) else ""


def _build_refusal(status: int, kinds: list[str], grant_type: str, kind: KeyKind) -> Refusal:
    said = " ".join([f"token endpoint: HTTP {status}", *map(to_loggable, kinds)])
    if not SCOPE_ERRORS.isdisjoint(kinds):
        return Refusal(Reason.PLATFORM_PERMISSION, f"{said}; see platform.scope")
    if "invalid_grant" in kinds and grant_type in GRANT_HINTS:
        return GrantRefused(Reason.PLATFORM_CREDENTIALS, f"{said}; {GRANT_HINTS[grant_type]}")
    if not KEY_ERRORS.isdisjoint(kinds):
        said = f"{said}; {KEY_HINTS[kind]}"
    return Refusal(Reason.PLATFORM_CREDENTIALS, said)
