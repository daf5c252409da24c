"""What the edge knows of its own state, for /readyz and for a metric."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.adapters.clock import Clock
from proxy.adapters.metrics import Metrics
from proxy.domain.reasons import Reason, Refusal

# Failures that are Dailymotion's or the account's; a refused video says nothing about either.
PLATFORM_TROUBLE = frozenset(
    {
        Reason.PLATFORM_CREDENTIALS,
        Reason.PLATFORM_PERMISSION,
        Reason.PLATFORM_BAD_ANSWER,
        Reason.PLATFORM_THROTTLED,
        Reason.PLATFORM_UNREACHABLE,
        Reason.PLATFORM_TIMEOUT,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What is wrong with Dailymotion, and since when (seconds since 1970)."""

    reason: Reason
    detail: str
    since: float


class Health:
    """Notes how exchanges with Dailymotion end.

    Trouble takes no instance out of rotation: every instance has it at once, and then nobody
    would be left to serve the plays that do work.
    """

    def __init__(self, clock: Clock, metrics: Metrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self.has_access_token = False
        self.draining = False
        self.trouble: Trouble | None = None

    @property
    def not_ready(self) -> Reason | None:
        """Return why no player should be sent here, None if all may come."""
        if self.draining:
            return Reason.DRAINING
        return None if self.has_access_token else Reason.STARTING

    def note_success(self) -> None:
        """Note that Dailymotion answered as it should."""
        self.trouble = None
        self._metrics.platform_healthy.set(1)

    def note_refusal(self, refusal: Refusal) -> None:
        """Note a refusal: an answer about one video is a healthy one."""
        if refusal.reason not in PLATFORM_TROUBLE:
            self.note_success()
            return
        since = self.trouble.since if self.trouble is not None else self._clock.now()
        self.trouble = Trouble(reason=refusal.reason, detail=refusal.detail, since=since)
        self._metrics.platform_healthy.set(0)
