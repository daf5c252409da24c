"""Who may ask the sandbox: API keys of both kinds, one user, and what was granted to whom.

Whether Dailymotion's refresh tokens are good for one use is not known; `rotation` has all cases.
"""

import secrets
from dataclasses import dataclass, field
from typing import Literal

KeyKind = Literal["private", "public"]
Rotation = Literal["lenient", "strict", "none"]

ACCESS_TOKEN_TTL_SECONDS = 36_000  # seconds
CODE_TTL_SECONDS = 600  # seconds
CHANNEL_ID = "x1sandbox"
CALLBACK_URL = "http://127.0.0.1:8085/callback"
PUBLIC_KEY = ("sandbox-public", "sandbox-public-secret")
STUDIO_KEY = ("sandbox-studio", "sandbox-studio-secret")  # private, for managing videos
MANAGING_SCOPES = {"upload_videos", "read_videos", "edit_videos", "delete_videos"}
USER = ("publisher", "sandbox-password")


class OAuthError(Exception):
    """The token endpoint's no: the `error` of RFC 6749, 5.2, and its description."""

    def __init__(self, error: str, description: str, *, status: int = 400) -> None:
        super().__init__(error)
        self.error = error
        self.description = description
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessGrant:
    """What an access token stands for; times in seconds since 1970."""

    expires_at: float
    scope: str
    login: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationCode:
    """What an authorization code stands for."""

    expires_at: float
    scope: str
    redirect_uri: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshGrant:
    """What a refresh token stands for, and which one it came after."""

    login: str
    scope: str
    previous: str = ""


@dataclass(slots=True, kw_only=True)
class Accounts:
    """Keys, and what was granted."""

    private_key: tuple[str, str] = ("sandbox", "sandbox-secret")
    access_token_ttl: int = ACCESS_TOKEN_TTL_SECONDS
    rotation: Rotation = "lenient"
    callback_url: str = CALLBACK_URL
    access_tokens: dict[str, AccessGrant] = field(default_factory=dict)
    codes: dict[str, AuthorizationCode] = field(default_factory=dict)
    refresh_tokens: dict[str, RefreshGrant] = field(default_factory=dict)

    def check_key(self, kind: KeyKind, api_key: str, api_secret: str) -> None:
        """Refuse an API key that this kind of endpoint does not know."""
        known = [self.private_key, STUDIO_KEY] if kind == "private" else [PUBLIC_KEY]
        if (api_key, api_secret) not in known:
            raise OAuthError("invalid_client", "invalid secret_key")

    def check_scope(self, api_key: str, scope: str) -> None:
        """Refuse a scope that the key has no permission for: the edge's may manage nothing."""
        if api_key == self.private_key[0] and MANAGING_SCOPES & set(scope.split()):
            raise OAuthError("invalid_scope", "The key has no permission for this scope")

    def issue_tokens(
        self, scope: str, *, now: float, login: str = "", after: str = ""
    ) -> dict[str, object]:
        """Return the answer of a token endpoint: an access token, for a login one to renew it."""
        value = secrets.token_urlsafe(24)
        expires_at = now + self.access_token_ttl
        self.access_tokens[value] = AccessGrant(expires_at=expires_at, scope=scope, login=login)
        answer: dict[str, object] = {
            "access_token": value,
            "token_type": "Bearer",
            "expires_in": self.access_token_ttl,
            "scope": scope,
        }
        if login and not (after and self.rotation == "none"):
            refresh_token = answer["refresh_token"] = secrets.token_urlsafe(32)
            self.refresh_tokens[str(refresh_token)] = RefreshGrant(
                login=login, scope=scope, previous=after
            )
            if self.rotation == "strict":
                self.refresh_tokens.pop(after, None)
        return answer

    def authorize(self, scope: str, redirect_uri: str, *, now: float) -> str:
        """Return a code for a user who said yes."""
        code = secrets.token_urlsafe(16)
        self.codes[code] = AuthorizationCode(
            expires_at=now + CODE_TTL_SECONDS, scope=scope, redirect_uri=redirect_uri
        )
        return code

    def exchange_code(self, code: str, redirect_uri: str, *, now: float) -> dict[str, object]:
        """Return the answer for a code, which is good for one exchange."""
        known = self.codes.pop(code, None)
        if known is None or now >= known.expires_at or redirect_uri != known.redirect_uri:
            raise OAuthError("invalid_grant", "Invalid authorization code or redirect_uri")
        return self.issue_tokens(known.scope, now=now, login=secrets.token_hex(8))

    def refresh(self, refresh_token: str, *, now: float) -> dict[str, object]:
        """Return the answer for a refresh token; the one before it is void once it is used."""
        known = self.refresh_tokens.get(refresh_token)
        if known is None:
            raise OAuthError("invalid_grant", "Invalid refresh token")
        self.refresh_tokens.pop(known.previous, None)
        return self.issue_tokens(known.scope, now=now, login=known.login, after=refresh_token)

    def log_in(self, username: str, password: str) -> None:
        """Refuse whoever is not the user."""
        if (username, password) != USER:
            raise OAuthError("invalid_grant", "Invalid username or password")

    def revoke(self, access_token: str) -> None:
        """Void an access token, and the login that it came from."""
        login = self.access_tokens.pop(access_token).login
        if login:
            self.access_tokens = {k: v for k, v in self.access_tokens.items() if v.login != login}
            self.refresh_tokens = {k: v for k, v in self.refresh_tokens.items() if v.login != login}
