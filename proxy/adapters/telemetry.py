"""The clock, the log, the metrics and the health of an edge."""

import io
from dataclasses import dataclass

from proxy.adapters.clock import Clock
from proxy.adapters.logs import Logger, build_logger
from proxy.adapters.metrics import Metrics
from proxy.domain.reasons import Reason, Refusal

# For each operation, the reasons that mean an outage of Dailymotion, the account or the state.
# Refusals that concern a single video are not outages.
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
    """An ongoing outage: its reason, its detail, and when it began (seconds since 1970)."""

    reason: Reason
    detail: str
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsStatus:
    """When the current settings were loaded, and why newer ones are not in use."""

    loaded_at: float  # seconds since 1970
    problems: tuple[str, ...] = ()  # errors of the last reload
    need_restart: tuple[str, ...] = ()  # names of changed settings that need a restart


class Health:
    """Tracks outages of Dailymotion and of the shared state, and whether this edge is ready.

    An outage does not make an instance unready: it affects all instances at once, and then no
    instance would be left for the plays that still work.
    """

    def __init__(self, clock: Clock, metrics: Metrics, log: Logger) -> None:
        self._clock = clock
        self._metrics = metrics
        self._log = log
        self.has_access_token = False
        self.is_draining = False
        # False if the first pull fails and state.revocations_on_failure is "deny", until one works.
        self.has_current_revocations = True
        self.outages: dict[str, Outage] = {}
        self.settings_status = SettingsStatus(loaded_at=clock.now())

    @property
    def not_ready_reason(self) -> Reason | None:
        """Return why this edge should get no players; None if it is ready."""
        if self.is_draining:
            return Reason.DRAINING
        return None if self.has_access_token and self.has_current_revocations else Reason.STARTING

    def record_success(self, operation: str) -> None:
        """Record that an operation succeeded, which ends its outage."""
        if (outage := self.outages.pop(operation, None)) is not None:
            duration = round(self._clock.now() - outage.since, 3)
            self._log.info(
                f"{_get_dependency(operation)}-recovered", operation=operation, seconds=duration
            )
            self._update_metrics()

    def record_refusal(self, operation: str, refusal: Refusal) -> None:
        """Record that an operation failed.

        A refusal that concerns a single video counts as a success of the operation.
        """
        reason, detail = refusal.reason, refusal.detail
        if reason is Reason.OVERLOADED:  # the edge itself is overloaded, not the other server
            return
        if reason not in OUTAGE_REASONS.get(operation, ()):
            self.record_success(operation)
            return
        outage = self.outages.get(operation)
        if outage is None or outage.reason != reason:
            self._log.warning(
                f"{_get_dependency(operation)}-failing",
                operation=operation,
                reason=str(reason),
                detail=detail,
            )
        since = self._clock.now() if outage is None else outage.since
        self.outages[operation] = Outage(reason=reason, detail=detail, since=since)
        self._update_metrics()

    def _update_metrics(self) -> None:
        failing = set(map(_get_dependency, self.outages))
        self._metrics.upstream.healthy.set("platform" not in failing)
        self._metrics.state.healthy.set("state" not in failing)


def _get_dependency(operation: str) -> str:
    return "state" if operation in {"state", "pull"} else "platform"


@dataclass(frozen=True, slots=True)
class Telemetry:
    """The clock, log, metrics and health that the parts of an edge share."""

    clock: Clock
    log: Logger
    metrics: Metrics
    health: Health


def build_telemetry(log: Logger | None = None, clock: Clock | None = None) -> Telemetry:
    """Build the telemetry of an edge or a command. Without `log`, log lines are discarded."""
    log, clock = log or build_logger(io.StringIO()), clock or Clock()
    metrics = Metrics()
    return Telemetry(clock, log, metrics, Health(clock, metrics, log))
