"""Requests access tokens with each OAuth grant (RFC 6749), and reads the endpoint's responses."""

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

# The key is valid but lacks the requested scope (RFC 6749, 5.2).
SCOPE_ERRORS = {"invalid_scope", "insufficient_scope", "access_denied"}
# The key is invalid, or of the other kind: private and public keys use different hosts, and each
# host knows only its own keys.
KEY_ERRORS = {"invalid_client", "unauthorized_client", "unsupported_grant_type"}
KEY_HINTS: dict[KeyKind, str] = {
    "private": "this grant needs a private API key; for a public one, see docs/accounts.md",
    "public": "this grant needs a public API key; for a private one, use grant client_credentials",
}
GRANT_HINTS = {
    "password": "the user name or the password is wrong",
    "authorization_code": "the code has expired or was used before: run playgate login again",
    "refresh_token": "the login has expired or was revoked: run playgate login",
}

DEFAULT_EXPIRES_IN_SECONDS = 3600.0  # RFC 6749 only recommends that responses have `expires_in`
MAX_EXPIRES_IN_SECONDS = 10**9  # thirty years; a larger value is an error


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """An access token with its expiry (seconds since 1970), scopes and refresh token, if any."""

    value: str
    expires_at: float
    scope: str = ""
    refresh_token: str = ""


class GrantRefused(Refusal):
    """The key is valid, but the code, refresh token or password is not (RFC 6749, 5.2)."""


class TokenEndpoint:
    """Dailymotion's token endpoint, called with an account's API key."""

    def __init__(self, http: HttpClient, account: Account, clock: Clock) -> None:
        self._http = http
        self._account = account
        self._clock = clock
        self._url = URL(account.endpoints.token_url)
        self.api_key = account.api_key

    async def fetch_access_token(self, *, deadline: float) -> AccessToken:
        """Fetch an access token with `platform.grant`, if that grant needs only the settings.

        Raises:
            Refusal: if Dailymotion grants no token.
        """
        account, form = self._account, {}
        if account.grant == "password":
            form = {"username": account.username, "password": account.password.get_secret_value()}
        response = await self.request_token(account.grant, deadline=deadline, **form)
        return self.read_token(response, account.grant)

    async def close(self) -> None:
        """Do nothing: a `client_credentials` or `password` request may be interrupted."""

    async def request_token(self, grant_type: str, *, deadline: float, **form: str) -> HttpResponse:
        """Send a token request with the form fields of a grant; return any response.

        Raises:
            Refusal: if the endpoint cannot be reached or does not respond in time.
        """
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

    def read_token(self, response: HttpResponse, grant_type: str) -> AccessToken:
        """Read the access token from a response.

        Raises:
            Refusal: if the response is an error, or has no usable token.
        """
        members = read_json_object("token endpoint", response)
        if response.status != HTTPStatus.OK or members.get("error") is not None:
            kinds = read_error_kinds(members.get("error"))
            raise _build_refusal(
                response.status, kinds, grant_type, get_key_kind(self._account.grant)
            )
        value = members.get("access_token")
        if not is_credential(value):
            raise build_bad_response_refusal("token endpoint: no access_token")
        expires_in = members.get("expires_in", DEFAULT_EXPIRES_IN_SECONDS)
        is_number = isinstance(expires_in, int | float) and not isinstance(expires_in, bool)
        if not is_number or not 0 < expires_in <= MAX_EXPIRES_IN_SECONDS:  # rejects NaN, too
            raise build_bad_response_refusal(
                "token endpoint: expires_in is not a number of seconds"
            )
        scope = members.get("scope")
        return AccessToken(
            value=str(value),
            expires_at=self._clock.now() + expires_in,
            scope=scope if isinstance(scope, str) else "",
            refresh_token=read_refresh_token(response),
        )

    def build_authorize_url(self, redirect_uri: str, state: str) -> str:
        """Build the URL of the page on which a user authorizes the application (RFC 6749, 4.1.1).

        It is next to the token endpoint: `authorize` instead of the last path segment.
        """
        query = {
            "response_type": "code",
            "client_id": self.api_key,
            "redirect_uri": redirect_uri,
            "scope": self._account.endpoints.scope,
            "state": state,
        }
        return str(self._url.with_name("authorize").with_query(query))


def read_refresh_token(response: HttpResponse) -> str:
    """Return the refresh token of a response, even if its access token is unusable; or ""."""
    try:
        members = read_json_object("token endpoint", response)
    except Refusal:
        return ""
    value = members.get("refresh_token")
    is_granted = response.status == HTTPStatus.OK and not members.get("error")
    return str(value) if is_granted and is_credential(value) else ""


def _build_refusal(status: int, kinds: list[str], grant_type: str, kind: KeyKind) -> Refusal:
    detail = " ".join([f"token endpoint: HTTP {status}", *map(to_loggable, kinds)])
    if not SCOPE_ERRORS.isdisjoint(kinds):
        return Refusal(Reason.PLATFORM_PERMISSION, f"{detail}; the API key lacks this scope")
    if "invalid_grant" in kinds and grant_type in GRANT_HINTS:
        return GrantRefused(Reason.PLATFORM_CREDENTIALS, f"{detail}; {GRANT_HINTS[grant_type]}")
    if not KEY_ERRORS.isdisjoint(kinds):
        detail = f"{detail}; {KEY_HINTS[kind]}"
    return Refusal(Reason.PLATFORM_CREDENTIALS, detail)
