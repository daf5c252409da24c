"""How far one clock is from another, as far as an HTTP `Date` (RFC 9110, 6.6.1) can tell."""

from email.utils import parsedate_to_datetime
from functools import lru_cache


def measure_skew(date: str, *, asked_at: float, answered_at: float) -> float | None:
    """Return how many seconds our clock is certainly ahead of the server's; negative where behind.

    A date has whole seconds and is of some moment between question and answer: within those bounds
    the clocks may agree, and the result is 0. It is None where the date is none.
    """
    told = parse_http_date(date)
    if told is None:
        return None
    return max(0.0, asked_at - (told + 1)) + min(0.0, answered_at - told)


@lru_cache(maxsize=8)  # it is the same for all answers of a second
def parse_http_date(date: str) -> float | None:
    """Return the seconds since 1970 that an HTTP date stands for; None where it is none."""
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, TypeError, OverflowError):
        return None
    # One without a zone would be read in this machine's.
    return None if moment.tzinfo is None else moment.timestamp()
