"""The sandbox's API keys, its one user, and the codes and tokens that it issues.

It is not known whether Dailymotion's refresh tokens can be used more than once. `rotation`
simulates each case:

- `lenient`: a refresh returns a new refresh token; the old token stays valid until the new token
  is used.
- `strict`: a refresh returns a new refresh token and revokes the old token at once.
- `none`: a refresh returns no new refresh token; the old token stays valid.
"""

import secrets
from dataclasses import dataclass, field
from typing import Literal

KeyKind = Literal["private", "public"]
Rotation = Literal["lenient", "strict", "none"]

ACCESS_TOKEN_TTL_SECONDS = 36_000
CODE_TTL_SECONDS = 600
CHANNEL_ID = "x1sandbox"
CALLBACK_URL = "http://127.0.0.1:8085/callback"
PUBLIC_KEY = ("sandbox-public", "sandbox-public-secret")
# A private API key with the scopes that manage videos.
VIDEOS_KEY = ("sandbox-studio", "sandbox-studio-secret")
MANAGING_SCOPES = {"upload_videos", "read_videos", "edit_videos", "delete_videos"}
USER = ("publisher", "sandbox-password")


class OAuthError(Exception):
    """An error response of the token endpoint (RFC 6749, 5.2): error code, description, status."""

    def __init__(self, error: str, description: str, *, status: int = 400) -> None:
        super().__init__(error)
        self.error = error
        self.description = description
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessGrant:
    """The rights that an access token grants."""

    expires_at: float  # seconds since 1970
    scope: str
    login: str = ""  # the user login that led to it; empty for client_credentials


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationCode:
    """The rights that an authorization code grants."""

    expires_at: float  # seconds since 1970
    scope: str
    redirect_uri: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshGrant:
    """The rights that a refresh token grants."""

    login: str
    scope: str
    previous: str = ""  # the refresh token that this token replaces


@dataclass(slots=True, kw_only=True)
class Accounts:
    """API keys, and the codes and tokens that were issued and are still stored."""

    private_key: tuple[str, str] = ("sandbox", "sandbox-secret")
    access_token_ttl: int = ACCESS_TOKEN_TTL_SECONDS  # seconds
    rotation: Rotation = "lenient"
    callback_url: str = CALLBACK_URL
    access_tokens: dict[str, AccessGrant] = field(default_factory=dict)
    codes: dict[str, AuthorizationCode] = field(default_factory=dict)
    refresh_tokens: dict[str, RefreshGrant] = field(default_factory=dict)

    def check_key(self, kind: KeyKind, api_key: str, api_secret: str) -> None:
        """Check an API key and its secret against the keys of this kind.

        Raises:
            OAuthError: the key or its secret is wrong.
        """
        valid_keys = [self.private_key, VIDEOS_KEY] if kind == "private" else [PUBLIC_KEY]
        if (api_key, api_secret) not in valid_keys:
            raise OAuthError("invalid_client", "invalid secret_key")

    def check_scope(self, api_key: str, scope: str) -> None:
        """Check that an API key has the permission for a scope.

        The edge's own key has no permission to manage videos.

        Raises:
            OAuthError: the key lacks a permission.
        """
        if api_key == self.private_key[0] and MANAGING_SCOPES & set(scope.split()):
            raise OAuthError("invalid_scope", "The key has no permission for this scope")

    def issue_tokens(
        self, scope: str, *, now: float, login: str = "", after: str = ""
    ) -> dict[str, object]:
        """Issue an access token, and a refresh token if there is a login; return the response body.

        Args:
            scope: scope of the access token.
            now: current time, in seconds since 1970.
            login: the user login; empty for client_credentials.
            after: the refresh token that was used; empty for other grants.
        """
        value = secrets.token_urlsafe(24)
        expires_at = now + self.access_token_ttl
        self.access_tokens[value] = AccessGrant(expires_at=expires_at, scope=scope, login=login)
        body: dict[str, object] = {
            "access_token": value,
            "token_type": "Bearer",
            "expires_in": self.access_token_ttl,
            "scope": scope,
        }
        if login and not (after and self.rotation == "none"):
            refresh_token = body["refresh_token"] = secrets.token_urlsafe(32)
            self.refresh_tokens[str(refresh_token)] = RefreshGrant(
                login=login, scope=scope, previous=after
            )
            if self.rotation == "strict":
                self.refresh_tokens.pop(after, None)
        return body

    def authorize(self, scope: str, redirect_uri: str, *, now: float) -> str:
        """Issue an authorization code for a user who allowed access."""
        code = secrets.token_urlsafe(16)
        self.codes[code] = AuthorizationCode(
            expires_at=now + CODE_TTL_SECONDS, scope=scope, redirect_uri=redirect_uri
        )
        return code

    def exchange_code(self, code: str, redirect_uri: str, *, now: float) -> dict[str, object]:
        """Exchange an authorization code for tokens; each code can be exchanged once.

        Raises:
            OAuthError: the code is unknown or expired, or the redirect URI is another.
        """
        grant = self.codes.pop(code, None)
        if grant is None or now >= grant.expires_at or redirect_uri != grant.redirect_uri:
            raise OAuthError("invalid_grant", "Invalid authorization code or redirect_uri")
        return self.issue_tokens(grant.scope, now=now, login=secrets.token_hex(8))

    def refresh(self, refresh_token: str, *, now: float) -> dict[str, object]:
        """Issue tokens for a refresh token, and revoke the refresh token that it replaced.

        Raises:
            OAuthError: the refresh token is unknown.
        """
        grant = self.refresh_tokens.get(refresh_token)
        if grant is None:
            raise OAuthError("invalid_grant", "Invalid refresh token")
        self.refresh_tokens.pop(grant.previous, None)
        return self.issue_tokens(grant.scope, now=now, login=grant.login, after=refresh_token)

    def log_in(self, username: str, password: str) -> None:
        """Check the name and the password of the user.

        Raises:
            OAuthError: the name or the password is wrong.
        """
        if (username, password) != USER:
            raise OAuthError("invalid_grant", "Invalid username or password")

    def revoke(self, access_token: str) -> None:
        """Revoke an access token, and every token of the same login."""
        login = self.access_tokens.pop(access_token).login
        if login:
            self.access_tokens = {
                token: grant for token, grant in self.access_tokens.items() if grant.login != login
            }
            self.refresh_tokens = {
                token: grant for token, grant in self.refresh_tokens.items() if grant.login != login
            }
