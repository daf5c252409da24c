"""Who may play: from the token that a request carries to the claims that hold for this play."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from proxy.adapters.clock import Clock
from proxy.domain.access import Play, TokenPolicy, authorize
from proxy.domain.client_ip import Address
from proxy.domain.formats import Format
from proxy.domain.reasons import Refusal
from proxy.domain.tokens.claims import Claims
from proxy.domain.tokens.compact import the_one_token
from proxy.domain.video import VideoId
from proxy.edge.first_use import FirstUse
from proxy.edge.keys import Keys
from proxy.edge.limits import Counted, CountedAs, PlayLimits
from proxy.edge.revocations import Revocations


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A token that somebody showed, and what it says, verified."""

    token: str
    claims: Claims


class Admission:
    """Admits plays under one policy; what a token covers, and when, is checked every time."""

    def __init__(
        self,
        keys: Keys,
        policy: TokenPolicy,
        clock: Clock,
        *,
        revocations: Revocations,
        first_use: FirstUse | None,
        limits: PlayLimits,
    ) -> None:
        self._keys = keys
        self._policy = policy
        self._clock = clock
        self._revocations = revocations
        self._first_use = first_use
        self._limits = limits

    async def verify(self, tokens: Iterable[str]) -> Shown:
        """Return the one token of a request, if one of the keys signed it, or refuse."""
        token = the_one_token(tokens)
        return Shown(token=token, claims=await self._keys.verify(token))

    async def admit(
        self,
        shown: Shown,
        *,
        video: VideoId,
        formats: Sequence[Format],
        viewer: Address,
        counted_as: CountedAs | None,
        is_use: bool,
    ) -> bool:
        """Refuse unless the token covers all of this; say whether it is settled whose it is.

        Args:
            shown: a verified token.
            video: what is asked for.
            formats: in which formats; none stands for no particular one.
            viewer: who asks.
            counted_as: as what it counts for `[limits]`; None for what does not.
            is_use: whether the token may be bound by this, where `tokens.first_use` is on; only
                what is no use can leave it unsettled.
        """
        claims, now = shown.claims, self._clock.now()
        asked: Sequence[Format | None] = formats or [None]
        for fmt in asked:
            authorize(claims, Play(now=now, video=video, format=fmt, viewer=viewer), self._policy)
        self._revocations.check(
            video=video,
            jti=claims.jti,
            subject=claims.subject,
            issuer=claims.issuer,
            issued_at=claims.issued_at,
        )
        if counted_as is None:
            return await self._settle(shown, viewer, is_use=is_use)
        counted = Counted(
            kind=counted_as,
            viewer=viewer,
            subject=claims.subject,
            issuer=claims.issuer,
        )
        # Before anything is awaited, and before the token is bound.
        reservation = self._limits.reserve(counted)
        try:
            return await self._settle(shown, viewer, is_use=is_use)
        except (Refusal, asyncio.CancelledError):  # a viewer who left was not admitted either
            self._limits.give_back(reservation)
            raise

    async def _settle(self, shown: Shown, viewer: Address, *, is_use: bool) -> bool:
        if self._first_use is None:
            return True
        return await self._first_use.check(shown.token, shown.claims, viewer, binds=is_use)
