"""What a check finds, and what every check works with."""

import tomllib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from proxy.cli.options import CheckResult
from proxy.domain.client_ip import Address
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.video import VideoId
from proxy.edge.delivery import Delivery
from proxy.settings import Settings
from proxy.wiring import ProcessServices

CHECK_TIMEOUT_SECONDS = 10.0  # seconds for one question


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckContext:
    """What is looked at, and the tools."""

    settings: Settings
    file: Path | None  # which they were read from
    process: ProcessServices
    delivery: Delivery
    video: VideoId | None
    viewer: Address | None

    @property
    def compute_deadline(self) -> float:
        """When a question that is asked now must be answered."""
        return self.process.telemetry.clock.monotonic() + CHECK_TIMEOUT_SECONDS


CheckFunction = Callable[[CheckContext], AsyncGenerator[CheckResult, None]]

TEXTS = tomllib.loads((files("proxy.cli.doctor") / "texts.toml").read_text("utf-8"))


def build_result(name: str, /, **values: object) -> CheckResult:
    """Return a finding of texts.toml, filled in."""
    entry = TEXTS[name]
    return CheckResult(
        check=entry["check"],
        status=entry["status"],
        text=entry["text"].format(**values),
        next_step=entry.get("step", "").format(**values),
    )


def fail_with_refusal(check: str, refusal: Refusal) -> CheckResult:
    """Return a refusal as a failure, with what to do about it."""
    detail = f" ({refusal.detail})" if refusal.detail else ""
    step = find_next_step(refusal.reason, refusal.detail)
    return CheckResult(check=check, status="fail", text=f"{refusal.reason}{detail}", next_step=step)


def find_next_step(reason: Reason, detail: str) -> str:
    """Return what an operator does about a refusal."""
    steps: dict[str, dict[str, str]] = TEXTS["steps"]
    told = (step for words, step in steps["details"].items() if words in detail)
    return next(told, steps["reasons"].get(reason, reason.message))
