"""Log lines: one event a line, in JSON or for people, and what must never be in one.

Nothing here is given a token, a stream URL or a secret; the names of the fields are interface and
are listed in docs/operations.md.
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

EVENT_COLUMN_WIDTH = 12  # characters; longer events move the rest of their line


def build_logger(
    stream: TextIO | LogWriter,
    *,
    level: LogLevel = "info",
    processors: Sequence[structlog.typing.Processor] = (),
) -> Logger:
    """Return a logger that writes one line for each event of a level or above.

    The processors make the line; without any, it is JSON.
    """
    logger = structlog.wrap_logger(
        structlog.WriteLogger(cast("TextIO", stream)),
        processors=list(processors or JSON_LINE),
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )
    # Bound once, or the library would make a logger for each line.
    return cast("Logger", logger.bind())


def _order_fields(
    _logger: object, method: str, fields: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Put first what the eye looks for."""
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
    """Send what libraries log through our lines, without the parts that may hold a secret."""
    root = logging.getLogger()
    root.handlers = [_LibraryLogHandler(logger)]
    root.setLevel(logging.WARNING)


class _LibraryLogHandler(logging.Handler):
    """Turns a library's record into one of our lines.

    Of an exception only the kind is kept, and the record's arguments, which may hold a URL, are
    not filled in.
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
    """Return the steps that make a line for a person out of a log event."""
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
    """Add what every line begins with."""
    now = datetime.now().astimezone()
    return {"timestamp": f"{now:%H:%M:%S}.{now.microsecond // 1000:03d}", "level": method, **fields}


def escape_fields(
    _logger: object, _method: str, fields: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Leave out empty fields, and escape what could steer a terminal."""
    return {
        name: to_printable(value) if isinstance(value, str) else value
        for name, value in fields.items()
        if value is not None and value != ""  # 0 and False are kept
    }


def write_traceback(stream: TextIO, error: structlog.typing.ExcInfo) -> None:
    """Write a traceback, indented, so that none of its lines looks like an event.

    The library's default shows local variables, and with them secrets.
    """
    plain = StringIO()
    structlog.dev.plain_traceback(plain, error)
    stream.writelines(f"\n    {to_printable(line)}" for line in plain.getvalue().split("\n"))


def to_printable(text: str) -> str:
    """Return a text in one line, without anything that steers a terminal."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
