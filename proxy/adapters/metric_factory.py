"""Creates Prometheus metrics with all of their series from the start."""

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import product
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

ANY_VALUE = ()  # for a label whose values are not known in advance
Labels = Iterable[str]
M = TypeVar("M", Counter, Histogram)


class MetricFactory:
    """Creates metrics in a registry; each label comes with all its values, if they are known.

    A metric whose label values are all known has all its series from the start, so that `rate()`
    sees the first increment.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def counter(self, name: str, text: str, **labels: Labels) -> Counter:
        """Create a counter."""
        return _create_series(Counter(name, text, list(labels), registry=self._registry), labels)

    def histogram(
        self, name: str, text: str, buckets: Sequence[float], **labels: Labels
    ) -> Histogram:
        """Create a histogram."""
        metric = Histogram(name, text, list(labels), registry=self._registry, buckets=buckets)
        return _create_series(metric, labels)

    def gauge(self, name: str, text: str, *labels: str, value: float = 0) -> Gauge:
        """Create a gauge; if it has no labels, set it to `value`."""
        metric = Gauge(name, text, labels, registry=self._registry)
        if not labels:
            metric.set(value)
        return metric


def _create_series(metric: M, labels: dict[str, Labels]) -> M:
    # Cache the lookup: the library validates and locks on every call. It keeps every series anyway,
    # so the cache adds no entries of its own.
    metric.labels = cache(metric.labels)  # type: ignore[method-assign]  # on purpose
    for values in product(*labels.values()) if labels else ():
        metric.labels(**dict(zip(labels, values, strict=True)))
    return metric
