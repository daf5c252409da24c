"""Measure how long the current request waits for Dailymotion."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from proxy.adapters.clock import Clock


@dataclass(slots=True)
class Timings:
    """Where one request's time went, in seconds."""

    upstream: float = 0.0


# Of the request at hand; set anew for each.
timings: ContextVar[Timings] = ContextVar("timings")


@contextmanager
def measure_upstream(clock: Clock) -> Iterator[None]:
    """Count the time until the block ends as what the request at hand waits for Dailymotion."""
    started = clock.monotonic()
    try:
        yield
    finally:
        if (spent := timings.get(None)) is not None:
            spent.upstream += clock.monotonic() - started
