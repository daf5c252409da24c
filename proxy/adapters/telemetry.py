"""What every part is given: the clock, the log, the metrics, and the health of what is outside."""

from __future__ import annotations

import io
from dataclasses import dataclass

from proxy.adapters.clock import Clock
from proxy.adapters.health import Health
from proxy.adapters.logs import Logger, build_logger
from proxy.adapters.metrics import Metrics


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
