"""How metrics are made: with all of their series from the start."""

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import product
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

ANY_VALUE = ()  # the values of a label that are not known beforehand
Labels = Iterable[str]
M = TypeVar("M", Counter, Histogram)


class MetricFactory:
    """Makes metrics in a registry; labels are given with all of their values, if they are known.

    The series of closed sets exist from the start, so that `rate()` sees the first increment.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def counter(self, name: str, text: str, **labels: Labels) -> Counter:
        """Return a counter."""
        return _create_series(Counter(name, text, list(labels), registry=self._registry), labels)

    def histogram(
        self, name: str, text: str, buckets: Sequence[float], **labels: Labels
    ) -> Histogram:
        """Return a histogram."""
        made = Histogram(name, text, list(labels), registry=self._registry, buckets=buckets)
        return _create_series(made, labels)

    def gauge(self, name: str, text: str, *labels: str, value: float = 0) -> Gauge:
        """Return a gauge; one without labels has a value at once."""
        made = Gauge(name, text, labels, registry=self._registry)
        if not labels:
            made.set(value)
        return made


def _create_series(metric: M, labels: dict[str, Labels]) -> M:
    # The library checks and locks each time; it keeps every series itself, so this holds no more.
    metric.labels = cache(metric.labels)  # type: ignore[method-assign]
    for values in product(*labels.values()) if labels else ():
        metric.labels(**dict(zip(labels, values, strict=True)))
    return metric
