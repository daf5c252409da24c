"""How metrics are made: with all of their series from the start, which are found at once.

The library's `labels` checks, converts and locks each time anew: 3 µs, eight times a play. Labels
come from closed sets, so that what is remembered is bounded.
"""

from collections.abc import Hashable, Iterable, Sequence
from functools import cached_property
from itertools import product
from typing import Self, TypeVar

import prometheus_client
from prometheus_client import CollectorRegistry, Gauge
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


OPEN = ()  # the values of a label that are not known beforehand
Labels = Iterable[str]
M = TypeVar("M", Counter, Histogram)


class Maker:
    """Makes metrics in a registry; labels are given with all of their values, if they are known.

    The series of closed sets exist from the start, so that `rate()` sees the first increment.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def counter(self, name: str, text: str, **labels: Labels) -> Counter:
        """Return a counter."""
        return _with_series(Counter(name, text, list(labels), registry=self._registry), labels)

    def histogram(
        self, name: str, text: str, buckets: Sequence[float], **labels: Labels
    ) -> Histogram:
        """Return a histogram."""
        made = Histogram(name, text, list(labels), registry=self._registry, buckets=buckets)
        return _with_series(made, labels)

    def gauge(self, name: str, text: str, *labels: str, value: float = 0) -> Gauge:
        """Return a gauge; one without labels has a value at once."""
        made = Gauge(name, text, labels, registry=self._registry)
        if not labels:
            made.set(value)
        return made


def _with_series(metric: M, labels: dict[str, Labels]) -> M:
    for values in product(*labels.values()) if labels else ():
        metric.labels(**dict(zip(labels, values, strict=True)))
    return metric
