"""The Retry-After header: seconds, a date, or an invalid value."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.adapters.http_client import parse_retry_after

DATE = "Fri, 20 Nov 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0),
        ("120", 120),
        ("Fri, 20 Nov 2026 12:00:03 GMT", 3),
        ("Fri, 20 Nov 2026 11:00:00 GMT", 0),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("", None),
        ("Mon, 01 Jan 2024 00:00:00 +99999999999999", None),
        ("²", None),
    ],
)
def test_retry_after_is_parsed_as_seconds_or_a_date_or_ignored(header, seconds):
    assert parse_retry_after(header, DATE) == seconds


def test_a_retry_after_date_is_ignored_if_the_response_has_no_date_header():
    assert parse_retry_after(DATE, None) is None


@given(st.text(max_size=40), st.text(max_size=40))
def test_parsing_raises_for_no_text(header, date):
    parse_retry_after(header, date)
