"""Rates such as `60/minute`, and counting in sliding windows."""

import re
from collections.abc import Hashable
from dataclasses import dataclass
from math import floor

from proxy.domain.caches import LruCache

SECONDS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}
RATE = re.compile(
    r"\s*(?P<amount>[1-9][0-9]{0,8})\s*(?:/|per)\s*(?P<count>[1-9][0-9]{0,3})?\s*"
    rf"(?P<unit>{'|'.join(SECONDS)})s?\s*",
    re.ASCII,
)
MAX_NAMES = 50_000  # counted names; 15 MB


@dataclass(frozen=True, slots=True)
class Rate:
    """So many in so many seconds."""

    amount: int
    seconds: int
    text: str


def parse_rates(text: str) -> tuple[Rate, ...]:
    """Return the rates of a text such as `10/second; 300/hour`; none if it is empty.

    Raises:
        ValueError: one of them is not a rate.
    """
    return tuple(dict.fromkeys(map(_parse_rate, text.split(";")))) if text else ()


def _parse_rate(text: str) -> Rate:
    if (match := RATE.fullmatch(text)) is None:
        raise ValueError('must be a rate such as "60/minute", or several: "10/second; 300/hour"')
    amount, count, unit = int(match["amount"]), int(match["count"] or 1), match["unit"]
    return Rate(amount, count * SECONDS[unit], f"{amount} per {count} {unit}")


class RateCounters:
    """Counts names in sliding windows: the count of the window before is weighed by what is left.

    Times are seconds on one clock, which the caller brings. A million viewers have a million names,
    so that the name counted longest ago is dropped first.
    """

    def __init__(self, max_names: int = MAX_NAMES) -> None:
        # The window's number, the count in the window before, and the count in this one.
        self._counts: LruCache[Hashable, tuple[int, int, int]] = LruCache(max_names)

    def compute_wait(self, name: Hashable, rate: Rate, now: float) -> float:
        """Return how long until one more is within the rate, at least 1; 0 if it is now."""
        _, before, count = self._read_count(name, rate, now)
        left = rate.seconds - now % rate.seconds
        if floor(before * left / rate.seconds + count) < rate.amount:
            return 0.0
        if count < rate.amount:  # until the window before weighs less
            return max(1.0, left - (rate.amount - count) * rate.seconds / before)
        return max(1.0, left + rate.seconds * (1 - rate.amount / count))

    def add(self, name: Hashable, rate: Rate, now: float) -> int:
        """Count a name; return the number of its window."""
        window, before, count = self._read_count(name, rate, now)
        self._counts[name] = window, before, count + 1
        return window

    def subtract(self, name: Hashable, window: int) -> None:
        """Count one less in the window in which it was counted, if that still matters."""
        number, before, count = self._counts.get(name) or (0, 0, 0)
        if number == window and count > 0:
            self._counts[name] = number, before, count - 1
        elif number == window + 1 and before > 0:
            self._counts[name] = number, before - 1, count

    def _read_count(self, name: Hashable, rate: Rate, now: float) -> tuple[int, int, int]:
        window = int(now // rate.seconds)
        number, before, count = self._counts.get(name) or (window, 0, 0)
        if window > number:
            before, count = (count if window == number + 1 else 0), 0
        return window, before, count
