"""Telemetry: the clock, the log, the metrics, and the health of an edge."""

import io
from dataclasses import dataclass

from proxy.adapters.clock import Clock
from proxy.adapters.logs import Logger, build_logger
from proxy.adapters.metrics import Metrics
from proxy.domain.reasons import Reason, Refusal

# Failures that are Dailymotion's or the account's, by operation. That one video may not be had says
# nothing about the others.
# fmt: off
PLATFORM_OUTAGE_REASONS = frozenset({
    Reason.PLATFORM_CREDENTIALS, Reason.PLATFORM_BAD_RESPONSE, Reason.PLATFORM_THROTTLED,
    Reason.PLATFORM_UNREACHABLE, Reason.PLATFORM_TIMEOUT,
})
# fmt: on
OUTAGE_REASONS: dict[str, frozenset[Reason]] = {
    "token": PLATFORM_OUTAGE_REASONS | {Reason.PLATFORM_PERMISSION, Reason.ACCOUNT_UNAVAILABLE},
    "video": PLATFORM_OUTAGE_REASONS,
    "state": frozenset({Reason.STATE_UNAVAILABLE}),
    "pull": frozenset({Reason.STATE_UNAVAILABLE}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """What is wrong, and since when (seconds since 1970)."""

    reason: Reason
    detail: str
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsStatus:
    """Since when the settings are as they are, and what is wrong with newer ones."""

    loaded_at: float  # seconds since 1970
    problems: tuple[str, ...] = ()
    need_restart: tuple[str, ...] = ()


class Health:
    """Notes how exchanges with Dailymotion end, and those with the state.

    Trouble takes no instance out of rotation: every instance has it at once, and then nobody
    would be left to serve the plays that do work.
    """

    def __init__(self, clock: Clock, metrics: Metrics, log: Logger) -> None:
        self._clock = clock
        self._metrics = metrics
        self._log = log
        self.has_access_token = False
        self.is_draining = False
        self.has_current_revocations = (
            True  # of what was taken back, where nobody plays without that
        )
        self.outages: dict[str, Outage] = {}
        self.settings_status = SettingsStatus(loaded_at=clock.now())

    @property
    def not_ready_reason(self) -> Reason | None:
        """Return why no player should be sent here, None if all may come."""
        if self.is_draining:
            return Reason.DRAINING
        return None if self.has_access_token and self.has_current_revocations else Reason.STARTING

    def record_success(self, operation: str) -> None:
        """Note an answer as it should be."""
        if (trouble := self.outages.pop(operation, None)) is not None:
            lasted = round(self._clock.now() - trouble.since, 3)
            self._log.info(
                f"{_get_dependency(operation)}-recovered", operation=operation, seconds=lasted
            )
            self._update_metrics()

    def record_refusal(self, operation: str, refusal: Refusal) -> None:
        """Note a refusal; one about a video alone is a healthy answer."""
        reason, detail = refusal.reason, refusal.detail
        if reason is Reason.OVERLOADED:  # ours: it says nothing of the other side
            return
        if reason not in OUTAGE_REASONS.get(operation, ()):
            self.record_success(operation)
            return
        before = self.outages.get(operation)
        if before is None or before.reason != reason:
            self._log.warning(
                f"{_get_dependency(operation)}-failing",
                operation=operation,
                reason=str(reason),
                detail=detail,
            )
        since = self._clock.now() if before is None else before.since
        self.outages[operation] = Outage(reason=reason, detail=detail, since=since)
        self._update_metrics()

    def _update_metrics(self) -> None:
        sides = set(map(_get_dependency, self.outages))
        self._metrics.upstream.healthy.set("platform" not in sides)
        self._metrics.state.healthy.set("state" not in sides)


def _get_dependency(operation: str) -> str:
    return "state" if operation in {"state", "pull"} else "platform"


@dataclass(frozen=True, slots=True)
class Telemetry:
    """The clock, and where each part says what happens."""

    clock: Clock
    log: Logger
    metrics: Metrics
    health: Health


def build_telemetry(log: Logger | None = None, clock: Clock | None = None) -> Telemetry:
    """Return the telemetry of one edge; without a log, of a command, which shows none."""
    log, clock = log or build_logger(io.StringIO()), clock or Clock()
    metrics = Metrics()
    return Telemetry(clock, log, metrics, Health(clock, metrics, log))
