"""Share one access token among all instances: one instance fetches it for the others.

The instance that holds a lease in the shared state fetches. The lease expires one second after
`platform.play_timeout`: if its holder crashes, the others wait no longer than that. If the shared
state fails, every instance fetches its own token. The shared token is encrypted and authenticated
with a key derived from the API secret: an attacker who can read the state cannot use the account,
and an attacker who can write to the state cannot inject a token.
"""

import json
from base64 import urlsafe_b64encode
from contextlib import suppress
from hashlib import sha256
from typing import Protocol
from uuid import uuid4

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from proxy.adapters.clock import Clock
from proxy.adapters.dailymotion.token_endpoint import AccessToken
from proxy.adapters.errors import StateError
from proxy.edge.shared_state import SharedState
from proxy.settings.platform import PlatformConfig

PURPOSE = b"playgate access token 1"
LEASE_POLL_SECONDS = 0.1  # between reads while another instance fetches
LEASE_MARGIN_SECONDS = 1.0  # a lease lasts this much longer than a fetch may take
MIN_SHARED_SECONDS = 30.0  # a shared token with less remaining lifetime is not used


class Grant(Protocol):
    """An OAuth grant that yields access tokens: by the API key, or by a refresh token in a file."""

    async def fetch_access_token(self, *, deadline: float) -> AccessToken:
        """Fetch an access token until `deadline` (monotonic clock). Raises Refusal on failure."""

    async def close(self) -> None:
        """Complete a fetch that must not be interrupted."""


class SharedAccessToken:
    """The access token of an account, shared by its instances."""

    def __init__(
        self, grant: Grant, state: SharedState, platform: PlatformConfig, clock: Clock
    ) -> None:
        """Share the tokens of `grant` with the instances that use the same account and secret."""
        self._grant = grant
        self._state = state
        self._clock = clock
        self._lease_ttl = platform.play_timeout + LEASE_MARGIN_SECONDS
        endpoints = platform.endpoints
        account = [platform.grant, platform.api_key, platform.username]
        name = "\n".join([*account, endpoints.token_url, endpoints.scope])
        digest = sha256(name.encode()).hexdigest()[:16]
        self.token_name, self.lease_name = f"access-token:{digest}", f"access-token-lease:{digest}"
        secret = platform.api_secret.get_secret_value().encode()
        key = HKDF(SHA256(), 32, salt=None, info=PURPOSE).derive(secret)
        self._cipher = Fernet(urlsafe_b64encode(key))
        self._instance_id = uuid4().hex
        self._waiting_since: float | None = None  # for another instance's fetch; monotonic clock

    async def fetch(
        self, current: AccessToken | None, *, was_refused: bool, deadline: float
    ) -> AccessToken:
        """Return a better access token than `current`: shared if there is one, else fetched.

        Args:
            current: the token in use.
            was_refused: Dailymotion refused `current`, so any other token is better. Otherwise, a
                token is better if it does not expire earlier.
            deadline: on the monotonic clock.

        Raises:
            Refusal: the fetch failed.
            StateError: the file of the refresh token cannot be read or written.
        """
        min_expiry = 0.0 if current is None or was_refused else current.expires_at
        value = "" if current is None else current.value
        try:
            if (shared := await self._read_or_lease(value, min_expiry)) is not None:
                return shared
        except StateError:
            self._waiting_since = None  # fetch without a lease
        try:
            token = await self._grant.fetch_access_token(deadline=deadline)
            await self._share(token)
        finally:
            with suppress(StateError):
                await self._state.release(self.lease_name, self._instance_id)
        return token

    async def close(self) -> None:
        """Complete a fetch that must not be interrupted."""
        await self._grant.close()

    async def _read_or_lease(self, current: str, min_expiry: float) -> AccessToken | None:
        """Return the token of another instance, or None once this instance holds the lease."""
        while True:
            if (shared := await self._read(current, min_expiry)) is not None:
                self._waiting_since = None
                return shared
            if (
                await self._state.claim(self.lease_name, self._instance_id, ttl=self._lease_ttl)
                == self._instance_id
            ):
                self._waiting_since = None
                return None
            # A lease that never expires, or is extended for ever, must not block this instance.
            now = self._clock.monotonic()
            if self._waiting_since is None:
                self._waiting_since = now
            elif now - self._waiting_since > self._lease_ttl:
                self._waiting_since = None
                await self._state.put(self.lease_name, self._instance_id, ttl=self._lease_ttl)
                return None
            await self._clock.sleep(LEASE_POLL_SECONDS)

    async def _read(self, current: str, min_expiry: float) -> AccessToken | None:
        """Return the token of another instance, or None if it is not better than `current`."""
        encrypted = await self._state.get(self.token_name)
        try:
            value, expires_at = json.loads(self._cipher.decrypt(encrypted or ""))
        except (InvalidToken, ValueError):
            return None
        is_better = value != current and expires_at >= max(
            min_expiry, self._clock.now() + MIN_SHARED_SECONDS
        )
        return AccessToken(value=value, expires_at=float(expires_at)) if is_better else None

    async def _share(self, token: AccessToken) -> None:
        content = self._cipher.encrypt(json.dumps([token.value, token.expires_at]).encode())
        ttl = token.expires_at - self._clock.now()
        with suppress(StateError):
            await self._state.put(self.token_name, content.decode(), ttl=ttl)
