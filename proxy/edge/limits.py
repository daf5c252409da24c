"""How many plays are let through: of one network, one viewer, one video, and of all.

Each instance counts for itself. Only plays that are otherwise admitted count, so that nobody
without a token uses up what is left to those who have one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from time import time
from typing import Literal

from limits import RateLimitItem
from limits.strategies import SlidingWindowCounterRateLimiter

from proxy.adapters.windows import Windows
from proxy.domain.client_ip import Address
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.seal import network_name
from proxy.domain.tokens.claims import scoped
from proxy.domain.video import VideoId

Scope = Literal["network", "subject", "video", "overall"]


# Player pages ask for a video's details beside each play, so these are counted on their own.
CountedAs = Literal["play", "details"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What is counted of a play."""

    kind: CountedAs
    video: VideoId
    viewer: Address
    subject: str | None
    issuer: str | None  # whose subject it is


Reservation = tuple[tuple[str, int], ...]  # where a play was counted: names and windows


class PlayLimits:
    """Counts plays, and refuses with `rate-limited` what is too much.

    A play is counted before anything is awaited, so that simultaneous plays cannot all pass; and
    it stays counted whatever becomes of it, or a token for all videos could probe ids unlimited.
    """

    def __init__(self, rates: Mapping[Scope, Sequence[RateLimitItem]], windows: Windows) -> None:
        self._rates = {scope: tuple(items) for scope, items in rates.items() if items}
        self._windows = windows
        self._limiter = SlidingWindowCounterRateLimiter(windows)

    def reserve(self, play: Counted) -> Reservation:
        """Count a play, or refuse one that is too much."""
        self._check(play)
        reserved = []
        for scope, item, name in self._counted(play):
            self._limiter.hit(item, play.kind, scope, name)
            window = self._windows.number_of(item.get_expiry())
            reserved.append((item.key_for(play.kind, scope, name), window))
        return tuple(reserved)

    def give_back(self, reservation: Reservation) -> None:
        """Take a play off again that was not admitted."""
        for key, window in reservation:
            self._windows.give_back(key, window)

    def _check(self, play: Counted) -> None:
        for scope, item, name in self._counted(play):
            names = (play.kind, scope, name)
            if not self._limiter.test(item, *names):
                # The library adds the wait to the wall clock's time, and so it is taken off again.
                wait = self._limiter.get_window_stats(item, *names).reset_time - time()
                raise Refusal(
                    Reason.RATE_LIMITED,
                    f"limits.{scope}: {item}",
                    retry_after=max(1, ceil(wait)),
                )

    def _counted(self, play: Counted) -> Iterator[tuple[Scope, RateLimitItem, str]]:
        if not self._rates:
            return
        names: dict[Scope, str | None] = {
            "network": network_name(play.viewer) if "network" in self._rates else None,
            "subject": None if play.subject is None else scoped(play.subject, play.issuer),
            "video": play.video,
            "overall": "",
        }
        for scope, items in self._rates.items():
            if (name := names[scope]) is not None:
                yield from ((scope, item, name) for item in items)
