"""Admission: the token's rules, first-use binding, revocations and rate limits.

A token that names no network belongs to the network in which it was first used, one for each
address family. That is decided in the state, so that of two networks that race exactly one wins,
whichever instances they come to; and it never changes, so that an instance asks once and remembers.

Each instance counts plays for itself, and only plays that are otherwise admitted: nobody without a
token uses up what is left to those who have one.
"""

import asyncio
from collections.abc import Iterator, Sequence
from functools import partial
from math import ceil
from typing import Literal

from proxy.adapters.clock import Clock
from proxy.adapters.errors import StateError
from proxy.domain.access import AccessRequest, TokenPolicy, authorize
from proxy.domain.caches import LruCache
from proxy.domain.client_ip import format_viewer_network
from proxy.domain.formats import Format
from proxy.domain.play_request import CountedAs, PlayRequest
from proxy.domain.rates import Rate, RateCounters, parse_rates
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.tokens.claims import Claims, scope_name
from proxy.domain.tokens.compact import compute_token_identity
from proxy.edge.revocations import Revocations
from proxy.edge.shared_state import SharedState, build_state_refusal
from proxy.edge.token_verifier import TokenVerifier
from proxy.settings.schema import LimitsConfig, OnFailure

BINDING_MARGIN_SECONDS = (
    60.0  # seconds: to an instance whose clock is behind, the token is good for longer
)
MAX_HOLDER_LENGTH = 64  # characters: longer than any network that an instance writes
MAX_CACHED_BINDINGS = 20_000  # tokens, in either address family


class FirstUse:
    """Binds tokens to networks."""

    def __init__(self, state: SharedState, clock: Clock, *, on_failure: OnFailure) -> None:
        self._state = state
        self._clock = clock
        self._on_failure = on_failure
        self._known: LruCache[str, str] = LruCache(MAX_CACHED_BINDINGS)

    async def bind(self, play: PlayRequest, claims: Claims) -> bool:
        """Bind a token to the viewer's network on its first use; refuse other networks.

        Returns:
            whether it is bound or names a network, or a failure of the state is to be ignored.
        """
        if claims.network is not None:
            return True
        network = format_viewer_network(play.viewer)
        name = f"first-use:{compute_token_identity(play.token)}:{play.viewer.version}"
        holder = self._known.get(name)
        if holder is None:
            try:
                holder = await self._claim_or_read(name, network, claims, binds=play.binds_token)
            except StateError as error:
                if self._on_failure == "allow":
                    return play.binds_token
                raise build_state_refusal(error) from None
        if holder is not None and holder != network:
            raise Refusal(
                Reason.TOKEN_USED_ELSEWHERE,
                f"first used in another network (IPv{play.viewer.version})",
            )
        return holder is not None

    async def _claim_or_read(
        self, name: str, network: str, claims: Claims, *, binds: bool
    ) -> str | None:
        if not binds:
            return await self._state.get(name)
        left = claims.expires_at - self._clock.now()
        return await self._state.claim(
            name,
            network,
            ttl=left + BINDING_MARGIN_SECONDS,
            heard=partial(self._cache_holder, name),  # late, it is good for the player's next try
        )

    def _cache_holder(self, name: str, holder: str) -> None:
        self._known[name] = holder[:MAX_HOLDER_LENGTH]


Scope = Literal["network", "subject"]
Name = tuple[CountedAs, Scope, str, Rate]
Reservation = tuple[tuple[Name, int], ...]  # where a play was counted: names and windows


class RateLimits:
    """Counts plays, and refuses with `rate-limited` those beyond the rates.

    A play is counted before anything is awaited, so that simultaneous plays cannot all pass; and
    it stays counted if Dailymotion fails, or a token for all videos could probe IDs without limit.
    """

    def __init__(self, limits: LimitsConfig, counters: RateCounters, clock: Clock) -> None:
        rates: dict[Scope, str] = {"network": limits.network, "subject": limits.subject}
        self._rates = {scope: parse_rates(text) for scope, text in rates.items() if text}
        self._counters = counters
        self._clock = clock

    def reserve(self, play: PlayRequest, claims: Claims) -> Reservation:
        """Count a play, or refuse it."""
        if not self._rates or play.counted_as is None:
            return ()
        names, now = list(self._build_names(play, claims, play.counted_as)), self._clock.monotonic()
        for name in names:
            _, scope, _, rate = name
            if wait := self._counters.compute_wait(name, rate, now):
                raise Refusal(
                    Reason.RATE_LIMITED,
                    f"limits.{scope}: {rate.text}",
                    retry_after=ceil(wait),
                )
        return tuple((name, self._counters.add(name, name[-1], now)) for name in names)

    def release(self, reservation: Reservation) -> None:
        """Uncount a play that was not admitted."""
        for name, window in reservation:
            self._counters.subtract(name, window)

    def _build_names(self, play: PlayRequest, claims: Claims, kind: CountedAs) -> Iterator[Name]:
        for scope, rates in self._rates.items():
            if scope == "network":
                name = format_viewer_network(play.viewer)
            elif claims.subject is not None:
                name = scope_name(claims.subject, claims.issuer)
            else:
                continue
            yield from ((kind, scope, name, rate) for rate in rates)


class Admission:
    """Admits plays under one policy; what a token covers, and when, is checked every time."""

    def __init__(
        self,
        keys: TokenVerifier,
        policy: TokenPolicy,
        revocations: Revocations,
        first_use: FirstUse | None,
        limits: RateLimits,
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

        Only a request that is no use of the token can leave it unbound (`tokens.bind_on_first_use`).
        """
        now = self._clock.now()
        formats: Sequence[Format | None] = play.formats or [None]
        for fmt in formats:
            wanted = AccessRequest(now=now, video=play.video, format=fmt, viewer=play.viewer)
            authorize(claims, wanted, self._policy)
        self._revocations.check(play.video, claims)
        if play.counted_as is None:
            return await self._bind(play, claims)
        # Before anything is awaited, and before the token is bound.
        reservation = self._limits.reserve(play, claims)
        try:
            return await self._bind(play, claims)
        except (Refusal, asyncio.CancelledError):  # a viewer who left was not admitted either
            self._limits.release(reservation)
            raise

    async def _bind(self, play: PlayRequest, claims: Claims) -> bool:
        return self._first_use is None or await self._first_use.bind(play, claims)
