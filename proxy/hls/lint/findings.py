"""Findings: the rules that a playlist violates, with their lines."""

from dataclasses import dataclass

from proxy.hls.lint.rules import RULES
from proxy.hls.lint.severity import Severity

MAX_FINDINGS_PER_RULE = 20  # per playlist; more findings of one rule would add nothing


@dataclass(frozen=True, slots=True)
class Finding:
    """A violated rule, and the line (counted from 1); None if it concerns the whole playlist."""

    rule: str
    line: int | None
    severity: Severity
    message: str


class Findings:
    """Collects findings, up to MAX_FINDINGS_PER_RULE of each rule."""

    def __init__(self) -> None:
        self.found: list[Finding] = []
        self._counts: dict[str, int] = {}

    def add(self, rule_id: str, line: int | None, **fields: object) -> None:
        """Add a violated rule; `fields` are the fields of its message."""
        count = self._counts[rule_id] = self._counts.get(rule_id, 0) + 1
        if count <= MAX_FINDINGS_PER_RULE:
            rule = RULES[rule_id]
            shown = {name: _shown(value) for name, value in fields.items()}
            message = rule.message.format_map(shown)
            self.found.append(Finding(rule.id, line, rule.severity, message))

    def in_order(self) -> tuple[Finding, ...]:
        """Return the findings in the order of the lines."""
        return tuple(sorted(self.found, key=lambda it: it.line or 0))


def _shown(value: object) -> str:
    """Return a value from a playlist for a message: shortened, without control characters."""
    text = str(value)
    text = text if len(text) <= MAX_SHOWN_LENGTH else f"{text[:MAX_SHOWN_LENGTH]}…"
    return "".join(char if char.isprintable() else "�" for char in text)


MAX_SHOWN_LENGTH = 60  # characters
