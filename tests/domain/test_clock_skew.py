"""Tests of the clock skew measured with an HTTP date, which has whole seconds."""

import pytest

from proxy.domain.clock_skew import measure_skew

DATE = "Sun, 09 Sep 2001 01:46:40 GMT"  # 1,000,000,000


@pytest.mark.parametrize(
    ("sent_at", "received_at", "ahead"),
    [
        (0.2, 0.4, 0),
        (0.9, 1.5, 0),  # the date may have been 0.999
        (-0.1, 0.0, 0),
        (6.5, 6.6, 5.5),
        (-20, -10, -10),
        (-10, 10, 0),  # a slow response proves nothing
    ],
)
def test_the_skew_excludes_the_uncertainty_of_the_date(sent_at, received_at, ahead):
    moments = {"sent_at": 1e9 + sent_at, "received_at": 1e9 + received_at}

    assert measure_skew(DATE, **moments) == pytest.approx(ahead)


@pytest.mark.parametrize(
    "date", ["", "yesterday", "Sun, 99 Sep 2001 01:46:40 GMT", "Sun, 09 Sep 2001 01:46:40 -0000"]
)
def test_an_invalid_date_gives_no_skew(date):
    assert measure_skew(date, sent_at=0, received_at=0) is None
