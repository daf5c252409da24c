"""Measures how long the current request waits for Dailymotion and its CDN."""

from contextvars import ContextVar
from dataclasses import dataclass

from proxy.adapters.clock import Clock


@dataclass(slots=True)
class Timings:
    """How long one request waited for Dailymotion and its CDN, in seconds."""

    upstream: float = 0.0


# The timings of the current request; each request sets its own.
timings: ContextVar[Timings] = ContextVar("timings")


class UpstreamTimer:
    """Adds the duration of a `with` block to the current request's `Timings.upstream`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __enter__(self) -> None:
        self._started = self._clock.monotonic()

    def __exit__(self, *_error: object) -> None:
        if (current := timings.get(None)) is not None:
            current.upstream += self._clock.monotonic() - self._started
