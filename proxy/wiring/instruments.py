"""What every part is given."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.adapters.clock import Clock
from proxy.adapters.logs import Logger
from proxy.adapters.metrics import Metrics
from proxy.edge.health import Health


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruments:
    """What every part is given: the time, and where to say what happens."""

    clock: Clock
    log: Logger
    metrics: Metrics
    health: Health


def build_instruments(log: Logger, clock: Clock) -> Instruments:
    """Return what one edge, or one command, measures with."""
    metrics = Metrics()
    return Instruments(clock=clock, log=log, metrics=metrics, health=Health(clock, metrics, log))
