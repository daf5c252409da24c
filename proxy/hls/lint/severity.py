"""The severities of rules, with short names for the tables of rules."""

from typing import Literal

Severity = Literal["warning", "error", "unplayable"]
W: Severity = "warning"
E: Severity = "error"
U: Severity = "unplayable"
RuleRow = tuple[str, Severity, str, str]  # id, severity, section and message
