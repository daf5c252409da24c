"""Access tokens: how each grant asks for one (RFC 6749), and what the token endpoint answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from yarl import URL

from proxy.adapters.dailymotion.answers import bad_answer, error_kinds, json_object, loggable
from proxy.adapters.dailymotion.endpoints import KeyKind
from proxy.adapters.dailymotion.exchange import Answer, Exchange
from proxy.adapters.dailymotion.logins import is_credential
from proxy.domain.reasons import Reason, Refusal

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
LONGEST_EXPIRES_IN = 10**9  # seconds, thirty years: more is not meant


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """An access token, the seconds that it lives, and what renews it where anything does."""

    value: str
    expires_in: float
    scope: str = ""
    refresh_token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """An API key: the client of OAuth 2.0."""

    api_key: str
    api_secret: str
    scope: str
    kind: KeyKind


class GrantRefused(Refusal):
    """The key is good, and what it shows is not: a code, a login, a user (RFC 6749, 5.2)."""


class TokenEndpoint:
    """Grants access tokens to one API key."""

    def __init__(self, exchange: Exchange, url: str, client: Client) -> None:
        self._exchange = exchange
        self.url = URL(url)
        self.client = client

    async def grant(self, grant_type: str, *, deadline: float, **form: str) -> AccessToken:
        """Return the access token for a grant, or refuse.

        Args:
            grant_type: `client_credentials`, `password`, `authorization_code`, `refresh_token`.
            deadline: on the monotonic clock.
            form: what else the grant has to show.
        """
        answer = await self.ask(grant_type, deadline=deadline, **form)
        return self.read(answer, grant_type)

    async def ask(self, grant_type: str, *, deadline: float, **form: str) -> Answer:
        """Return what the endpoint answers to a grant."""
        return await self._exchange.send(
            "token",
            "POST",
            self.url,
            deadline=deadline,
            data={
                "grant_type": grant_type,
                "client_id": self.client.api_key,
                "client_secret": self.client.api_secret,
                **({"scope": self.client.scope} if grant_type != "refresh_token" else {}),
                **form,
            },
        )

    def read(self, answer: Answer, grant_type: str) -> AccessToken:
        """Return the access token of an answer, or refuse."""
        return read_access_token(answer, grant_type, self.client.kind)


class SettingsGrant:
    """A grant for which the settings are enough: client credentials, or a password."""

    def __init__(self, endpoint: TokenEndpoint, grant_type: str, form: Mapping[str, str]) -> None:
        self._endpoint = endpoint
        self._grant_type = grant_type
        self._form = dict(form)

    async def fetch_access_token(self, *, deadline: float) -> AccessToken:
        """Return a new access token, or refuse."""
        return await self._endpoint.grant(self._grant_type, deadline=deadline, **self._form)

    async def close(self) -> None:
        """Do nothing: what was asked for can be asked for again."""


def read_refresh_token(answer: Answer) -> str:
    """Return the refresh token of an answer, whatever else a grant says; nothing without one."""
    try:
        members = json_object("token endpoint", answer)
    except Refusal:
        return ""
    value = members.get("refresh_token")
    is_granted = answer.status == HTTPStatus.OK and not members.get("error")
    return str(value) if is_granted and is_credential(value) else ""


def authorize_url(endpoint: TokenEndpoint, redirect_uri: str, state: str) -> str:
    """Return the page on which a user allows an application in (RFC 6749, 4.1.1).

    It lies beside the token endpoint.
    """
    client = endpoint.client
    query = {
        "response_type": "code",
        "client_id": client.api_key,
        "redirect_uri": redirect_uri,
        "scope": client.scope,
        "state": state,
    }
    return str(endpoint.url.with_name("authorize").with_query(query))


def read_access_token(answer: Answer, grant_type: str, kind: KeyKind) -> AccessToken:
    """Return the access token of a token endpoint's answer, or refuse."""
    members = json_object("token endpoint", answer)
    if answer.status != HTTPStatus.OK or members.get("error") is not None:
        raise _refusal_of(answer.status, error_kinds(members.get("error")), grant_type, kind)
    value, expires_in = members.get("access_token"), members.get("expires_in", DEFAULT_EXPIRES_IN)
    if not is_credential(value):
        raise bad_answer("token endpoint: no access_token")
    is_number = isinstance(expires_in, int | float) and not isinstance(expires_in, bool)
    if not is_number or not 0 < expires_in <= LONGEST_EXPIRES_IN:  # NaN is in no range
        raise bad_answer("token endpoint: expires_in is not a number of seconds")
    scope = members.get("scope")
    return AccessToken(
        value=str(value),
        expires_in=float(expires_in),
        scope=scope if isinstance(scope, str) else "",
        refresh_token=read_refresh_token(answer),
    )


def _refusal_of(status: int, kinds: list[str], grant_type: str, kind: KeyKind) -> Refusal:
    said = " ".join([f"token endpoint: HTTP {status}", *map(loggable, kinds)])
    if not SCOPE_ERRORS.isdisjoint(kinds):
        return Refusal(Reason.PLATFORM_PERMISSION, f"{said}; see platform.scope")
    if "invalid_grant" in kinds and grant_type in GRANT_HINTS:
        return GrantRefused(Reason.PLATFORM_CREDENTIALS, f"{said}; {GRANT_HINTS[grant_type]}")
    if not KEY_ERRORS.isdisjoint(kinds):
        said = f"{said}; {KEY_HINTS[kind]}"
    return Refusal(Reason.PLATFORM_CREDENTIALS, said)
