"""The header Retry-After (RFC 9110, 10.2.3): seconds, or a date."""

from __future__ import annotations

from email.utils import parsedate_to_datetime


def seconds_to_wait(retry_after: str | None, date: str | None) -> float | None:
    """Return how long the server asks us to wait; None where it does not say.

    A date is counted from the server's own `Date`, so that its clock and ours may differ.
    """
    if retry_after is None:
        return None
    if retry_after.isascii() and retry_after.isdecimal():
        return float(retry_after[:9])
    try:
        asked = parsedate_to_datetime(retry_after) - parsedate_to_datetime(date or "")
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, asked.total_seconds())
