"""Admission: the token's rules, first-use binding, revocations and rate limits.

A token without a network is bound to the network that first uses it, separately for IPv4 and IPv6.
The binding is an atomic claim in the shared state: if two networks race, exactly one wins, even on
different instances. A binding never changes, so each instance caches it after one read.

Rate limits are per instance, and count only plays that pass every other check: requests without a
valid token do not use up the rate of valid ones.
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
from proxy.domain.tokens.claims import Claims, add_issuer_prefix
from proxy.domain.tokens.compact import compute_token_identity
from proxy.edge.revocations import Revocations
from proxy.edge.shared_state import SharedState, build_state_refusal
from proxy.edge.token_verifier import TokenVerifier
from proxy.settings.schema import LimitsConfig, OnFailure

# A binding is kept this much longer than its token: an instance whose clock is behind accepts the
# token for longer.
BINDING_MARGIN_SECONDS = 60.0
MAX_HOLDER_LENGTH = 64  # characters: longer than any network that an instance writes
MAX_CACHED_BINDINGS = 20_000  # a token used over IPv4 and IPv6 counts twice


class FirstUse:
    """Binds each token to the network that first uses it."""

    def __init__(self, state: SharedState, clock: Clock, *, on_failure: OnFailure) -> None:
        self._state = state
        self._clock = clock
        self._on_failure = on_failure
        self._holders: LruCache[str, str] = LruCache(MAX_CACHED_BINDINGS)

    async def bind(self, play: PlayRequest, claims: Claims) -> bool:
        """Bind a token to the viewer's network on its first use; refuse other networks.

        Returns:
            False if the play may not get a stream yet: the token is unbound, and this request (a
            HEAD, say) does not bind tokens. True if the token is bound or names a network, or if
            the shared state failed and `state.first_use_on_failure` allows the play.

        Raises:
            Refusal: `token-used-elsewhere`, or `state-unavailable`.
        """
        if claims.network is not None:
            return True
        network = format_viewer_network(play.viewer)
        name = f"first-use:{compute_token_identity(play.token)}:{play.viewer.version}"
        holder = self._holders.get(name)
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
                f"the token was first used in another IPv{play.viewer.version} network",
            )
        return holder is not None

    async def _claim_or_read(
        self, name: str, network: str, claims: Claims, *, binds: bool
    ) -> str | None:
        if not binds:
            return await self._state.get(name)
        token_ttl = claims.expires_at - self._clock.now()
        return await self._state.claim(
            name,
            network,
            ttl=token_ttl + BINDING_MARGIN_SECONDS,
            # Also called after a timeout, so that the player's next attempt finds the holder.
            on_holder=partial(self._cache_holder, name),
        )

    def _cache_holder(self, name: str, holder: str) -> None:
        self._holders[name] = holder[:MAX_HOLDER_LENGTH]


Scope = Literal["network", "subject"]
Name = tuple[CountedAs, Scope, str, Rate]
Reservation = tuple[tuple[Name, int], ...]  # where a play was counted: the counter and its window


class RateLimits:
    """Counts plays per network and per subject, and refuses plays above the configured rates.

    A play is counted before the first await, so that simultaneous plays cannot all pass. It stays
    counted if Dailymotion fails; otherwise a token for all videos could probe IDs without limit.
    """

    def __init__(self, limits: LimitsConfig, counters: RateCounters, clock: Clock) -> None:
        rates: dict[Scope, str] = {"network": limits.network, "subject": limits.subject}
        self._rates = {scope: parse_rates(text) for scope, text in rates.items() if text}
        self._counters = counters
        self._clock = clock

    def reserve(self, play: PlayRequest, claims: Claims) -> Reservation:
        """Count a play under each limit that applies to it.

        Raises:
            Refusal: `rate-limited`; the play is not counted.
        """
        if not self._rates or play.counted_as is None:
            return ()
        names, now = list(self._build_names(play, claims, play.counted_as)), self._clock.monotonic()
        for name in names:
            _, scope, _, rate = name
            if wait := self._counters.compute_wait(name, rate, now):
                raise Refusal(
                    Reason.RATE_LIMITED,
                    f"limits.{scope} ({rate.text}) is exceeded",
                    retry_after=ceil(wait),
                )
        return tuple((name, self._counters.add(name, name[-1], now)) for name in names)

    def release(self, reservation: Reservation) -> None:
        """Remove a play that was not admitted from the counters."""
        for name, window in reservation:
            self._counters.subtract(name, window)

    def _build_names(self, play: PlayRequest, claims: Claims, kind: CountedAs) -> Iterator[Name]:
        for scope, rates in self._rates.items():
            if scope == "network":
                name = format_viewer_network(play.viewer)
            elif claims.subject is not None:
                name = add_issuer_prefix(claims.subject, claims.issuer)
            else:
                continue
            yield from ((kind, scope, name, rate) for rate in rates)


class Admission:
    """Checks each play against its token, the revocations and the rate limits."""

    def __init__(
        self,
        verifier: TokenVerifier,
        policy: TokenPolicy,
        revocations: Revocations,
        first_use: FirstUse | None,
        limits: RateLimits,
        clock: Clock,
    ) -> None:
        self._verifier = verifier
        self._policy = policy
        self._revocations = revocations
        self._first_use = first_use
        self._limits = limits
        self._clock = clock

    async def verify(self, token: str) -> Claims:
        """Return the claims of a token. Raises Refusal if no trusted key signed the token."""
        return await self._verifier.verify(token)

    async def admit(self, play: PlayRequest, claims: Claims) -> bool:
        """Check that the token allows this play, count it, and bind the token on its first use.

        Returns:
            False only with `tokens.bind_on_first_use`, for a request that does not bind tokens (a
            HEAD, say) while the token is still unbound: respond without a stream.

        Raises:
            Refusal: the token does not allow the play, is revoked, is bound to another network, or
                exceeds a rate limit.
        """
        now = self._clock.now()
        formats: Sequence[Format | None] = play.formats or [None]
        for fmt in formats:
            request = AccessRequest(now=now, video=play.video, format=fmt, viewer=play.viewer)
            authorize(claims, request, self._policy)
        self._revocations.check(play.video, claims)
        if play.counted_as is None:
            return await self._bind(play, claims)
        # Count before the first await, and before the token is bound.
        reservation = self._limits.reserve(play, claims)
        try:
            return await self._bind(play, claims)
        except (Refusal, asyncio.CancelledError):  # cancelled: the viewer has disconnected
            self._limits.release(reservation)
            raise

    async def _bind(self, play: PlayRequest, claims: Claims) -> bool:
        return self._first_use is None or await self._first_use.bind(play, claims)
