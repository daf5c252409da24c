"""What a check finds, and what every check works with."""

import tomllib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from proxy.cli.options import Finding
from proxy.domain.client_ip import Address
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.video import VideoId
from proxy.edge.delivery import Delivery
from proxy.settings import Settings
from proxy.wiring import Process

PATIENCE = 10.0  # seconds for one question


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """What is looked at, and the tools."""

    settings: Settings
    file: Path | None  # which they were read from
    process: Process
    delivery: Delivery
    video: VideoId | None
    viewer: Address | None

    @property
    def deadline(self) -> float:
        """When a question that is asked now must be answered."""
        return self.process.telemetry.clock.monotonic() + PATIENCE


Check = Callable[[Visit], AsyncGenerator[Finding, None]]

FINDINGS = tomllib.loads((files("proxy.cli.doctor") / "findings.toml").read_text("utf-8"))


def found(name: str, /, **values: object) -> Finding:
    """Return a finding of findings.toml, filled in."""
    entry = FINDINGS[name]
    return Finding(
        check=entry["check"],
        status=entry["status"],
        text=entry["text"].format(**values),
        next_step=entry.get("step", "").format(**values),
    )


def refused(check: str, refusal: Refusal) -> Finding:
    """Return a refusal as a failure, with what to do about it."""
    detail = f" ({refusal.detail})" if refusal.detail else ""
    step = next_step_of(refusal.reason, refusal.detail)
    return Finding(check=check, status="fail", text=f"{refusal.reason}{detail}", next_step=step)


def next_step_of(reason: Reason, detail: str) -> str:
    """Return what an operator does about a refusal."""
    steps: dict[str, dict[str, str]] = FINDINGS["steps"]
    told = (step for words, step in steps["details"].items() if words in detail)
    return next(told, steps["reasons"].get(reason, reason.message))
