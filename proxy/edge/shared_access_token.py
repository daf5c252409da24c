"""One access token for all instances: whoever needs a new one first fetches it for the others.

A lease says who fetches. It expires by itself, so that the death of its holder holds up nobody for
longer than that. Where the state does not work, every instance fetches for itself. What lies in the
state is encrypted with a key that follows from the API secret: who can read the state cannot act
for the account, and who can write to it cannot foist a token on us.
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
LEASE_POLL_SECONDS = 0.1  # seconds between looks while another instance fetches
LEASE_MARGIN_SECONDS = 1.0  # seconds beyond the time that a fetch may take
MIN_SHARED_SECONDS = 30.0  # seconds: a shared token with less to live is not taken over


class Grant(Protocol):
    """A way to an access token: what the settings say, or a login that is kept in a file."""

    async def fetch_access_token(self, *, deadline: float) -> AccessToken:
        """Return a new access token by `deadline` (monotonic clock), or refuse."""

    async def close(self) -> None:
        """Finish what must not be broken off."""


class SharedAccessToken:
    """The access token of an account, fetched by one instance for all."""

    def __init__(
        self, grant: Grant, state: SharedState, platform: PlatformConfig, clock: Clock
    ) -> None:
        """Share what `grant` gives among instances with this account and its secret."""
        self._grant = grant
        self._state = state
        self._clock = clock
        self._lease = (
            platform.play_timeout + LEASE_MARGIN_SECONDS
        )  # seconds, then a fetch counts as lost
        endpoints = platform.endpoints
        account = [platform.grant, platform.api_key, platform.username]
        name = "\n".join([*account, endpoints.token_url, endpoints.scope])
        digest = sha256(name.encode()).hexdigest()[:16]
        self.token_name, self.lease_name = f"access-token:{digest}", f"access-token-lease:{digest}"
        secret = platform.api_secret.get_secret_value().encode()
        key = HKDF(SHA256(), 32, salt=None, info=PURPOSE).derive(secret)
        self._box = Fernet(urlsafe_b64encode(key))
        self._me = uuid4().hex
        self._waiting_since: float | None = None  # for other instances, without a better token

    async def fetch(
        self, held: AccessToken | None, *, was_refused: bool, deadline: float
    ) -> AccessToken:
        """Return a better access token than the one that is held, or refuse.

        If Dailymotion refused that one, any other is better. `deadline` is monotonic.

        Raises:
            StateError: the login's file cannot be read or written.
        """
        floor = 0.0 if held is None or was_refused else held.expires_at
        value = "" if held is None else held.value
        try:
            if (shared := await self._read_or_lease(value, floor)) is not None:
                return shared
        except StateError:
            self._waiting_since = None  # without the state, every instance fetches for itself
        try:
            token = await self._grant.fetch_access_token(deadline=deadline)
            await self._share(token)
        finally:
            with suppress(StateError):
                await self._state.release(self.lease_name, self._me)
        return token

    async def close(self) -> None:
        """Finish what must not be broken off."""
        await self._grant.close()

    async def _read_or_lease(self, held: str, floor: float) -> AccessToken | None:
        """Return what another instance fetched, or None once it is upon this one to fetch."""
        while True:
            if (shared := await self._read(held, floor)) is not None:
                self._waiting_since = None
                return shared
            if await self._state.claim(self.lease_name, self._me, ttl=self._lease) == self._me:
                self._waiting_since = None
                return None
            # A lease without an end, or one that is renewed for ever, must not stop this instance.
            now = self._clock.monotonic()
            if self._waiting_since is None:
                self._waiting_since = now
            elif now - self._waiting_since > self._lease:
                self._waiting_since = None
                await self._state.put(self.lease_name, self._me, ttl=self._lease)
                return None
            await self._clock.sleep(LEASE_POLL_SECONDS)

    async def _read(self, held: str, floor: float) -> AccessToken | None:
        """Return what another instance fetched; None if it is no better than what is held."""
        sealed = await self._state.get(self.token_name)
        try:
            value, expires_at = json.loads(self._box.decrypt(sealed or ""))
        except (InvalidToken, ValueError):
            return None
        is_better = value != held and expires_at >= max(
            floor, self._clock.now() + MIN_SHARED_SECONDS
        )
        return AccessToken(value=value, expires_at=float(expires_at)) if is_better else None

    async def _share(self, token: AccessToken) -> None:
        content = self._box.encrypt(json.dumps([token.value, token.expires_at]).encode())
        ttl = token.expires_at - self._clock.now()
        with suppress(StateError):
            await self._state.put(self.token_name, content.decode(), ttl=ttl)
