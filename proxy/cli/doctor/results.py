"""The results of checks, and the context that all checks share."""

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

CHECK_TIMEOUT_SECONDS = 10.0  # for each request or connection


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckContext:
    """The settings to check, the services to check with, and the video and viewer given."""

    settings: Settings
    file: Path | None  # the settings file; None for defaults and environment alone
    process: ProcessServices
    delivery: Delivery
    video: VideoId | None
    viewer: Address | None

    @property
    def deadline(self) -> float:
        """The deadline of a request that starts now, in monotonic seconds."""
        return self.process.telemetry.clock.monotonic() + CHECK_TIMEOUT_SECONDS


CheckFunction = Callable[[CheckContext], AsyncGenerator[CheckResult, None]]

TEXTS = tomllib.loads((files("proxy.cli.doctor") / "texts.toml").read_text("utf-8"))


def build_result(name: str, /, **values: object) -> CheckResult:
    """Build the result that texts.toml has under this name, with its fields filled in."""
    entry = TEXTS[name]
    return CheckResult(
        check=entry["check"],
        status=entry["status"],
        text=entry["text"].format(**values),
        next_step=entry.get("step", "").format(**values),
    )


def fail_with_refusal(check: str, refusal: Refusal) -> CheckResult:
    """Build the result of a check that failed with a refusal, with the next step."""
    detail = f" ({refusal.detail})" if refusal.detail else ""
    step = find_next_step(refusal.reason, refusal.detail)
    return CheckResult(check=check, status="fail", text=f"{refusal.reason}{detail}", next_step=step)


def find_next_step(reason: Reason, detail: str) -> str:
    """Return an operator's next step after a refusal, by words of its detail or by its reason."""
    steps: dict[str, dict[str, str]] = TEXTS["steps"]
    matches = (step for words, step in steps["details"].items() if words in detail)
    return next(matches, steps["reasons"].get(reason, reason.message))
