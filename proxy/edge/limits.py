"""How many plays are admitted: of one network, and of one viewer.

Each instance counts for itself. Only plays that are otherwise admitted count, so that nobody
without a token uses up what is left to those who have one.
"""

from collections.abc import Iterator
from math import ceil
from typing import Literal

from proxy.adapters.clock import Clock
from proxy.domain.play_request import CountedAs, PlayRequest
from proxy.domain.rates import Rate, RateCounters, parse_rates
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.seal import network_name
from proxy.domain.tokens.claims import Claims, scoped
from proxy.settings.schema import LimitsConfig

Scope = Literal["network", "subject"]
Name = tuple[CountedAs, Scope, str, Rate]
Reservation = tuple[tuple[Name, int], ...]  # where a play was counted: names and windows


class PlayLimits:
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
        names, now = list(self._names(play, claims, play.counted_as)), self._clock.monotonic()
        for name in names:
            _, scope, _, rate = name
            if wait := self._counters.seconds_to_wait(name, rate, now):
                raise Refusal(
                    Reason.RATE_LIMITED,
                    f"limits.{scope}: {rate.text}",
                    retry_after=ceil(wait),
                )
        return tuple((name, self._counters.add(name, name[-1], now)) for name in names)

    def give_back(self, reservation: Reservation) -> None:
        """Uncount a play that was not admitted."""
        for name, window in reservation:
            self._counters.take_back(name, window)

    def _names(self, play: PlayRequest, claims: Claims, kind: CountedAs) -> Iterator[Name]:
        for scope, rates in self._rates.items():
            if scope == "network":
                name = network_name(play.viewer)
            elif claims.subject is not None:
                name = scoped(claims.subject, claims.issuer)
            else:
                continue
            yield from ((kind, scope, name, rate) for rate in rates)
