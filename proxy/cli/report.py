"""How commands report what they checked: one line a check, and the next step below it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rich.markup import escape

from proxy.cli.options import printable, say

Status = Literal["ok", "warn", "fail"]
COLOURS: dict[Status, str] = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line: what was checked, the outcome, and what to do about it."""

    check: str
    status: Status
    text: str
    next_step: str = ""


def print_finding(finding: Finding) -> None:
    """Print one finding."""
    colour = COLOURS[finding.status]
    say(f"[{colour}]{finding.status:<5}[/]{finding.check:<12}{escape(printable(finding.text))}")
    if finding.next_step:
        say(f"{'':<17}[dim]→ {escape(printable(finding.next_step))}[/]")
