"""Metrics whose series are found at once.

The library's `labels` checks, converts and locks each time anew: 3 µs, eight times a play. Labels
come from closed sets, so that what is remembered is bounded.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import cached_property
from typing import Self

import prometheus_client
from prometheus_client.metrics import MetricWrapperBase


class Remembering(MetricWrapperBase):
    """Remembers the series that it returned."""

    @cached_property
    def _found(self) -> dict[Hashable, Self]:
        return {}

    def labels(self, *values: object, **named: object) -> Self:
        """Return the series with these labels."""
        key = (values, *named.items())
        if (series := self._found.get(key)) is None:
            series = self._found[key] = super().labels(*values, **named)
        return series


class Counter(Remembering, prometheus_client.Counter):
    """A counter, or a series of one."""


class Histogram(Remembering, prometheus_client.Histogram):
    """A histogram, or a series of one."""
