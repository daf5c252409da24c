"""Log lines: one event per line, as JSON or for a terminal, without secrets.

Callers must not pass tokens, stream URLs or secrets to the logger. Field names are a public
interface: docs/operations.md lists them.
"""

import logging
from collections.abc import MutableMapping, Sequence
from datetime import UTC, datetime
from io import StringIO
from typing import Any, TextIO, cast

import structlog

from proxy.adapters.log_writer import LogWriter
from proxy.settings.schema import LogLevel

Logger = structlog.typing.FilteringBoundLogger

EVENT_COLUMN_WIDTH = 12  # in characters; a longer event name shifts the fields after it


def build_logger(
    stream: TextIO | LogWriter,
    *,
    level: LogLevel = "info",
    processors: Sequence[structlog.typing.Processor] = (),
) -> Logger:
    """Build a logger that writes one line per event at or above `level`.

    The structlog processors format the line; by default as JSON.
    """
    logger = structlog.wrap_logger(
        structlog.WriteLogger(cast("TextIO", stream)),
        processors=list(processors or JSON_LINE),
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )
    # Bind once: otherwise structlog creates a new logger for every line.
    return cast("Logger", logger.bind())


def _order_fields(
    _logger: object, method: str, fields: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Put the time, the level and the event name first."""
    now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return {"timestamp": now, "level": method, "event": fields.pop("event"), **fields}


JSON_LINE: tuple[structlog.typing.Processor, ...] = (
    _order_fields,
    structlog.processors.ExceptionRenderer(
        structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    ),
    structlog.processors.JSONRenderer(ensure_ascii=False, default=repr),
)


def capture_standard_logging(logger: Logger) -> None:
    """Log the warnings and errors of libraries, without the parts that may contain secrets."""
    root = logging.getLogger()
    root.handlers = [_LibraryLogHandler(logger)]
    root.setLevel(logging.WARNING)


class _LibraryLogHandler(logging.Handler):
    """Logs a library's record as a `library` event.

    Logs only the type of an exception. Leaves the placeholders of the message empty, because the
    record's arguments may contain a URL.
    """

    def __init__(self, logger: Logger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        fields: dict[str, Any] = {"logger": record.name, "message": str(record.msg)}
        if error is not None:
            fields["error"] = type(error).__name__
        self._logger.log(max(record.levelno, logging.INFO), "library", **fields)


def build_console_processors(*, colors: bool) -> list[structlog.typing.Processor]:
    """Build the structlog processors that format an event for a terminal."""
    renderer = structlog.dev.ConsoleRenderer(
        colors=colors,
        pad_event_to=EVENT_COLUMN_WIDTH,
        pad_level=False,
        sort_keys=False,
        exception_formatter=write_traceback,
    )
    return [add_time_and_level, escape_fields, renderer]


def add_time_and_level(
    _logger: object, method: str, fields: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Put the local time and the level first."""
    now = datetime.now().astimezone()
    return {"timestamp": f"{now:%H:%M:%S}.{now.microsecond // 1000:03d}", "level": method, **fields}


def escape_fields(
    _logger: object, _method: str, fields: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Remove empty fields, and escape terminal control characters in the others."""
    return {
        name: to_printable(value) if isinstance(value, str) else value
        for name, value in fields.items()
        if value is not None and value != ""  # 0 and False are kept
    }


def write_traceback(stream: TextIO, error: structlog.typing.ExcInfo) -> None:
    """Write a traceback, indented, so that none of its lines can pass for an event.

    structlog's default also prints local variables, which may contain secrets.
    """
    plain = StringIO()
    structlog.dev.plain_traceback(plain, error)
    stream.writelines(f"\n    {to_printable(line)}" for line in plain.getvalue().split("\n"))


def to_printable(text: str) -> str:
    """Escape all unprintable characters: control sequences for the terminal, and line breaks."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
