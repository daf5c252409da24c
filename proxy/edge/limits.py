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
from proxy.domain.video import VideoId

Scope = Literal["network", "subject", "video", "overall"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What is counted of a play."""

    video: VideoId
    viewer: Address
    subject: str | None


class PlayLimits:
    """Counts plays, and refuses with `rate-limited` what is too much."""

    def __init__(self, rates: Mapping[Scope, Sequence[RateLimitItem]], windows: Windows) -> None:
        self._rates = {scope: tuple(items) for scope, items in rates.items() if items}
        self._limiter = SlidingWindowCounterRateLimiter(windows)

    def check(self, play: Counted) -> None:
        """Refuse a play that is too much."""
        if not self._rates:
            return
        for scope, item, name in self._counted(play):
            if not self._limiter.test(item, scope, name):
                # The library adds the wait to the wall clock's time, and so it is taken off again.
                wait = self._limiter.get_window_stats(item, scope, name).reset_time - time()
                raise Refusal(
                    Reason.RATE_LIMITED,
                    f"limits.{scope}: {item}",
                    retry_after=max(1, ceil(wait)),
                )

    def count(self, play: Counted) -> None:
        """Count a play that is let through; one that is refused counts for nothing."""
        if not self._rates:
            return
        for scope, item, name in self._counted(play):
            self._limiter.hit(item, scope, name)

    def _counted(self, play: Counted) -> Iterator[tuple[Scope, RateLimitItem, str]]:
        names: dict[Scope, str | None] = {
            "network": network_name(play.viewer) if "network" in self._rates else None,
            "subject": play.subject,
            "video": play.video,
            "overall": "",
        }
        for scope, items in self._rates.items():
            if (name := names[scope]) is not None:
                yield from ((scope, item, name) for item in items)
