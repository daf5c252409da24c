"""Log lines for people: local time, level, event and `key=value`, in colour on a terminal."""

from __future__ import annotations

from collections.abc import MutableMapping
from datetime import datetime
from io import StringIO
from typing import Any, TextIO

import structlog

EVENT_WIDTH = 12  # characters; longer events move the rest of their line


def console_processors(*, colors: bool) -> list[structlog.typing.Processor]:
    """Return the steps that make a line for a person out of a log event."""
    renderer = structlog.dev.ConsoleRenderer(
        colors=colors,
        pad_event_to=EVENT_WIDTH,
        pad_level=False,
        sort_keys=False,
        exception_formatter=write_traceback,
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
        name: printable(value) if isinstance(value, str) else value
        for name, value in fields.items()
        if value is not None and value != ""  # 0 and False are kept
    }


def write_traceback(stream: TextIO, error: structlog.typing.ExcInfo) -> None:
    """Write a traceback, indented, so that none of its lines looks like an event.

    The library's default shows local variables, and with them secrets.
    """
    plain = StringIO()
    structlog.dev.plain_traceback(plain, error)
    stream.writelines(f"\n    {printable(line)}" for line in plain.getvalue().split("\n"))


def printable(text: str) -> str:
    """Return a text in one line, without anything that steers a terminal."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
