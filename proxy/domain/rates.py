"""Parse rates such as `60/minute`, and count events in sliding windows."""

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
MAX_NAMES = 50_000  # counted names, which take 15 MB


@dataclass(frozen=True, slots=True)
class Rate:
    """A limit of `amount` events per `seconds`; `text` is the rate in words, for messages."""

    amount: int
    seconds: int
    text: str


def parse_rates(text: str) -> tuple[Rate, ...]:
    """Parse a list of rates such as `10/second; 300/hour`; an empty text has no rates.

    Raises:
        ValueError: an element is not a rate.
    """
    return tuple(dict.fromkeys(map(_parse_rate, text.split(";")))) if text else ()


def _parse_rate(text: str) -> Rate:
    if (match := RATE.fullmatch(text)) is None:
        raise ValueError('must be a rate such as "60/minute", or several: "10/second; 300/hour"')
    amount, count, unit = int(match["amount"]), int(match["count"] or 1), match["unit"]
    return Rate(
        amount,
        count * SECONDS[unit],
        f"{amount} per {unit}" if count == 1 else f"{amount} per {count} {unit}s",
    )


class RateCounters:
    """Counts events per name in sliding windows.

    The count of the previous window is weighted by the remaining share of the current window.
    Times are seconds on one clock, which the caller reads. A million viewers have a million names,
    so at `max_names` the least recently used name is dropped.
    """

    def __init__(self, max_names: int = MAX_NAMES) -> None:
        # By name: the window's number, the count in the previous window, the count in this window.
        self._counts: LruCache[Hashable, tuple[int, int, int]] = LruCache(max_names)

    def compute_wait(self, name: Hashable, rate: Rate, now: float) -> float:
        """Return the seconds until the rate allows one more event.

        Returns:
            0 if the rate allows an event now; otherwise at least 1.
        """
        _, previous, count = self._read_count(name, rate, now)
        remaining = rate.seconds - now % rate.seconds
        if floor(previous * remaining / rate.seconds + count) < rate.amount:
            return 0.0
        if count < rate.amount:  # wait until the previous window has less weight
            return max(1.0, remaining - (rate.amount - count) * rate.seconds / previous)
        return max(1.0, remaining + rate.seconds * (1 - rate.amount / count))

    def add(self, name: Hashable, rate: Rate, now: float) -> int:
        """Count one event of a name, and return the number of the current window."""
        window, previous, count = self._read_count(name, rate, now)
        self._counts[name] = window, previous, count + 1
        return window

    def subtract(self, name: Hashable, window: int) -> None:
        """Remove one event from the window in which it was counted, unless that window is over."""
        number, previous, count = self._counts.get(name) or (0, 0, 0)
        if number == window and count > 0:
            self._counts[name] = number, previous, count - 1
        elif number == window + 1 and previous > 0:
            self._counts[name] = number, previous - 1, count

    def _read_count(self, name: Hashable, rate: Rate, now: float) -> tuple[int, int, int]:
        window = int(now // rate.seconds)
        number, previous, count = self._counts.get(name) or (window, 0, 0)
        if window > number:
            previous, count = (count if window == number + 1 else 0), 0
        return window, previous, count
