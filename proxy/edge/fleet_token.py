"""One access token for all instances: whoever needs a new one first fetches it for the others.

A lease says who fetches. It lapses by itself, so that the death of its holder holds up nobody for
longer than that. Where the state does not work, every instance fetches for itself. What lies in the
state is encrypted with a key that follows from the API secret: who can read the state cannot act
for the account, and who can write to it cannot foist a token on us.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol
from uuid import uuid4

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from proxy.adapters.clock import Clock
from proxy.adapters.dailymotion.oauth import AccessToken
from proxy.domain.reasons import Refusal
from proxy.edge.state import State

PURPOSE = b"playgate access token 1"
WAIT = 0.1  # seconds between looks while another instance fetches
SHORTEST_LIFE = 30.0  # seconds: a shared token with less to live is not taken over


class Grant(Protocol):
    """A way to an access token: what the settings say, or a login that is kept in a file."""

    async def fetch_access_token(self, *, deadline: float) -> AccessToken:
        """Return a new access token by `deadline` (monotonic clock), or refuse."""

    async def close(self) -> None:
        """Finish what must not be broken off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldToken:
    """What an instance has: the token, and the seconds left to it; none once it was refused."""

    value: str
    expires_in: float


NOTHING = HeldToken(value="", expires_in=0.0)


class FleetToken:
    """The way to an access token that instances share."""

    def __init__(
        self, grant: Grant, state: State, clock: Clock, *, account: str, secret: str, lease: float
    ) -> None:
        """Share what `grant` gives.

        Args:
            grant: the way to a token of one's own.
            state: where it is shared.
            clock: what time it is.
            account: what tells this account, and what it may do, from others in the same state.
            secret: what all instances of the account know, and nobody else.
            lease: seconds after which a fetch is given up for lost.
        """
        self._grant = grant
        self._state = state
        self._clock = clock
        self._lease = lease
        name = sha256(account.encode()).hexdigest()[:16]
        self._token_name, self._lease_name = f"access-token:{name}", f"access-token-lease:{name}"
        key = HKDF(SHA256(), 32, salt=None, info=PURPOSE).derive(secret.encode())
        self._box = Fernet(urlsafe_b64encode(key))
        self._me = uuid4().hex
        self._waiting_since: float | None = None  # for other instances, without a better token

    async def fetch(self, held: HeldToken, *, deadline: float) -> AccessToken:
        """Return a better access token than the one that is held, or refuse by `deadline`."""
        try:
            if (shared := await self._shared_or_leased(held)) is not None:
                return shared
        except Refusal:
            pass  # without the state, everybody for himself
        try:
            token = await self._grant.fetch_access_token(deadline=deadline)
            await self._share(token)
        finally:
            with suppress(Refusal):
                await self._state.release(self._lease_name, self._me)
        return token

    async def close(self) -> None:
        """Finish what must not be broken off."""
        await self._grant.close()

    async def _shared_or_leased(self, held: HeldToken) -> AccessToken | None:
        """Return what another instance fetched, or None once it is upon us to fetch."""
        while True:
            if (shared := await self._shared(held)) is not None:
                self._waiting_since = None
                return shared
            if await self._state.claim(self._lease_name, self._me, ttl=self._lease) == self._me:
                self._waiting_since = None
                return None
            # A lease without an end, or one that is renewed for ever, must not stop this instance.
            now = self._clock.monotonic()
            if self._waiting_since is None:
                self._waiting_since = now
            elif now - self._waiting_since > self._lease:
                self._waiting_since = None
                await self._state.put(self._lease_name, self._me, ttl=self._lease)
                return None
            await self._clock.sleep(WAIT)

    async def _shared(self, held: HeldToken) -> AccessToken | None:
        """Return what another instance fetched; None where it is no better than what is held."""
        sealed = await self._state.get(self._token_name)
        try:
            value, expires_at = json.loads(self._box.decrypt(sealed or ""))
        except (InvalidToken, ValueError):
            return None
        left = float(expires_at) - self._clock.now()
        if value == held.value or left < max(SHORTEST_LIFE, held.expires_in):
            return None
        return AccessToken(value=value, expires_in=left)

    async def _share(self, token: AccessToken) -> None:
        content = json.dumps([token.value, self._clock.now() + token.expires_in]).encode()
        with suppress(Refusal):
            await self._state.put(
                self._token_name, self._box.encrypt(content).decode(), ttl=token.expires_in
            )
