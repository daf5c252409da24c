"""How many plays are admitted: of one network, and of one viewer.

Each instance counts for itself. Only plays that are otherwise admitted count, so that nobody
without a token uses up what is left to those who have one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

from proxy.adapters.clock import Clock
from proxy.domain.client_ip import Address
from proxy.domain.rates import Rate, RateCounters
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.seal import network_name
from proxy.domain.tokens.claims import scoped

Scope = Literal["network", "subject"]
# Player pages ask for a video's details beside each play, so these are counted on their own.
CountedAs = Literal["play", "details"]
Name = tuple[CountedAs, Scope, str, Rate]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What is counted of a play."""

    kind: CountedAs
    viewer: Address
    subject: str | None
    issuer: str | None  # whose subject it is


Reservation = tuple[tuple[Name, int], ...]  # where a play was counted: names and windows


class PlayLimits:
    """Counts plays, and refuses with `rate-limited` those beyond the rates.

    A play is counted before anything is awaited, so that simultaneous plays cannot all pass; and
    it stays counted if Dailymotion fails, or a token for all videos could probe IDs without limit.
    """

    def __init__(
        self, rates: Mapping[Scope, Sequence[Rate]], counters: RateCounters, clock: Clock
    ) -> None:
        self._rates = {scope: tuple(items) for scope, items in rates.items() if items}
        self._counters = counters
        self._clock = clock

    def reserve(self, play: Counted) -> Reservation:
        """Count a play, or refuse it."""
        names, now = list(self._names(play)), self._clock.monotonic()
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

    def _names(self, play: Counted) -> Iterator[Name]:
        for scope, rates in self._rates.items():
            if scope == "network":
                text = network_name(play.viewer)
            elif play.subject is not None:
                text = scoped(play.subject, play.issuer)
            else:
                continue
            yield from ((play.kind, scope, text, rate) for rate in rates)
