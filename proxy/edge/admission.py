"""Who may play: from the token that a request carries to the claims that hold for this play."""

import asyncio
from collections.abc import Sequence

from proxy.adapters.clock import Clock
from proxy.domain.access import Play, TokenPolicy, authorize
from proxy.domain.formats import Format
from proxy.domain.play_request import PlayRequest
from proxy.domain.reasons import Refusal
from proxy.domain.tokens.claims import Claims
from proxy.edge.first_use import FirstUse
from proxy.edge.keys import Keys
from proxy.edge.limits import PlayLimits
from proxy.edge.revocations import Revocations


class Admission:
    """Admits plays under one policy; what a token covers, and when, is checked every time."""

    def __init__(
        self,
        keys: Keys,
        policy: TokenPolicy,
        revocations: Revocations,
        first_use: FirstUse | None,
        limits: PlayLimits,
        clock: Clock,
    ) -> None:
        self._keys = keys
        self._policy = policy
        self._revocations = revocations
        self._first_use = first_use
        self._limits = limits
        self._clock = clock

    async def verify(self, token: str) -> Claims:
        """Return the claims of a token that one of the keys signed, or refuse."""
        return await self._keys.verify(token)

    async def admit(self, play: PlayRequest, claims: Claims) -> bool:
        """Refuse unless the token allows this play; return whether it is bound, or needs not be.

        Only a request that is no use of the token can leave it unbound (`tokens.first_use`).
        """
        now = self._clock.now()
        formats: Sequence[Format | None] = play.formats or [None]
        for fmt in formats:
            wanted = Play(now=now, video=play.video, format=fmt, viewer=play.viewer)
            authorize(claims, wanted, self._policy)
        self._revocations.check(play.video, claims)
        if play.counted_as is None:
            return await self._bind(play, claims)
        # Before anything is awaited, and before the token is bound.
        reservation = self._limits.reserve(play, claims)
        try:
            return await self._bind(play, claims)
        except (Refusal, asyncio.CancelledError):  # a viewer who left was not admitted either
            self._limits.give_back(reservation)
            raise

    async def _bind(self, play: PlayRequest, claims: Claims) -> bool:
        return self._first_use is None or await self._first_use.check(play, claims)
