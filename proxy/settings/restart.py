"""Settings that a running edge cannot change: what they made lasts as long as the process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from proxy.settings.schema import Settings

# Whole tables, and single settings.
NEED_A_RESTART = (
    "sandbox",
    "web.listen",
    "web.player_page",
    "web.keepalive_timeout",
    "web.drain_timeout",
    "operator.listen",
    "log",
    "state",
    "platform",
    "limits.concurrency",
)


def changed_names(old: Settings, new: Settings) -> list[str]:
    """Return which settings differ, by name."""
    return sorted(_differences(old, new, ""))


def without_restart(old: Settings, new: Settings) -> Settings:
    """Return the new settings, but for those that need a restart."""
    tables: dict[str, Any] = {}
    for name in NEED_A_RESTART:
        table, _, field = name.partition(".")
        before = getattr(old, table)
        if field:
            now = tables.get(table, getattr(new, table))
            before = now.model_copy(update={field: getattr(before, field)})
        tables[table] = before
    return new.model_copy(update=tables)


def _differences(old: Any, new: Any, path: str) -> Iterator[str]:
    for name in type(old).model_fields:
        before, now, here = getattr(old, name), getattr(new, name), f"{path}{name}"
        if hasattr(type(before), "model_fields"):
            yield from _differences(before, now, f"{here}.")
        elif before != now:
            yield here
