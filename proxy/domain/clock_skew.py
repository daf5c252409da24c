"""Measure the skew between two clocks with an HTTP `Date` header (RFC 9110, 6.6.1)."""

from email.utils import parsedate_to_datetime
from functools import lru_cache


def measure_skew(date: str, *, sent_at: float, received_at: float) -> float | None:
    """Return by how many seconds this clock is at least ahead of the server's clock.

    A negative result means that this clock is behind. A date has whole seconds and was taken
    between request and response. Within that uncertainty the clocks may agree, and the result is 0.

    Args:
        date: the `Date` header of the response.
        sent_at: when the request was sent, in seconds since 1970 on this clock.
        received_at: when the response arrived, on the same clock.

    Returns:
        The skew in seconds; None if the date is not valid.
    """
    server_time = parse_http_date(date)
    if server_time is None:
        return None
    return max(0.0, sent_at - (server_time + 1)) + min(0.0, received_at - server_time)


@lru_cache(maxsize=8)  # all responses of one second have the same date
def parse_http_date(date: str) -> float | None:
    """Parse an HTTP date into seconds since 1970; None if the date is not valid."""
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, TypeError, OverflowError):
        return None
    # Python would read a date without a time zone in this machine's zone.
    return None if moment.tzinfo is None else moment.timestamp()
