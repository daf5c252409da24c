"""Log lines for people: local time, level, event and `key=value`, in colour on a terminal."""

from __future__ import annotations

from collections.abc import MutableMapping
from datetime import datetime
from typing import Any

import structlog

EVENT_WIDTH = 12  # characters; longer events move the rest of their line


def console_processors(*, colors: bool) -> list[structlog.typing.Processor]:
    """Return the steps that make a line for a person out of a log event."""
    renderer = structlog.dev.ConsoleRenderer(
        colors=colors,
        pad_event_to=EVENT_WIDTH,
        pad_level=False,
        sort_keys=False,
        # The library's default shows local variables, and with them secrets.
        exception_formatter=structlog.dev.plain_traceback,
    )
    return [add_time_and_level, keep_printable, renderer]


def add_time_and_level(
    _logger: object, method: str, fields: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Add what every line begins with."""
    now = datetime.now().astimezone()
    return {"timestamp": f"{now:%H:%M:%S}.{now.microsecond // 1000:03d}", "level": method, **fields}


def keep_printable(
    _logger: object, _method: str, fields: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Leave out empty fields, and escape what could steer a terminal."""
    return {
        name: repr(value) if isinstance(value, str) and not value.isprintable() else value
        for name, value in fields.items()
        if value is not None and value != ""  # 0 and False are kept
    }
