"""Measures how long the current request waits for Dailymotion and its CDN."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from proxy.adapters.clock import Clock


@dataclass(slots=True)
class Timings:
    """How long one request waited for Dailymotion and its CDN, in seconds."""

    upstream: float = 0.0


# The timings of the current request; each request sets its own.
timings: ContextVar[Timings] = ContextVar("timings")


@contextmanager
def measure_upstream(clock: Clock) -> Iterator[None]:
    """Add the duration of the block to the current request's `Timings.upstream`."""
    started = clock.monotonic()
    try:
        yield
    finally:
        if (current := timings.get(None)) is not None:
            current.upstream += clock.monotonic() - started
