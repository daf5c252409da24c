"""Log lines: one event a line, in JSON or for people, and what must never be in one.

Nothing here is given a token, a stream URL or a secret; the names of the fields are interface and
are listed in docs/operations.md.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, TextIO, cast

import structlog

from proxy.adapters.clock import Clock
from proxy.settings.schema import LogLevel

Logger = structlog.typing.FilteringBoundLogger

# One for all lines; `json.dumps` would make another for each.
ENCODER = json.JSONEncoder(ensure_ascii=False, default=repr)

render_exception = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)


@dataclass(slots=True)
class Timings:
    """Where one request's time went, in seconds."""

    upstream: float = 0.0


# Of the request at hand; set anew for each.
timings: ContextVar[Timings] = ContextVar("timings")


@contextmanager
def waiting_upstream(clock: Clock) -> Iterator[None]:
    """Count the time until the block ends as what the request at hand waits for Dailymotion."""
    started = clock.monotonic()
    try:
        yield
    finally:
        if (spent := timings.get(None)) is not None:
            spent.upstream += clock.monotonic() - started


class Lines(Protocol):
    """Where lines go."""

    def write(self, line: str, /) -> object:
        """Take a line."""

    def flush(self) -> object:
        """Hand on what is there."""


def build_logger(
    stream: Lines | None = None,
    *,
    level: LogLevel = "info",
    processors: Sequence[structlog.typing.Processor] = (),
) -> Logger:
    """Return a logger that writes one line for each event.

    Args:
        stream: where lines go, standard output by default.
        level: events below it are left out.
        processors: the steps that make a line; without any, JSON.
    """
    logger = structlog.wrap_logger(
        structlog.WriteLogger(cast("TextIO", Unfailing(stream or sys.stdout))),
        processors=list(processors) or [as_line],
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )
    # Bound once, or the library would make a logger for each line.
    return cast("Logger", logger.bind())


class Unfailing:
    """A stream whose loss is no reason to refuse a play: a full disk, a reader that went away."""

    def __init__(self, stream: Lines) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write, or lose the line."""
        with suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        """Flush, or lose what was buffered."""
        with suppress(OSError):
            self._stream.flush()


def as_line(_logger: object, method: str, fields: MutableMapping[str, Any]) -> str:
    """Write a line, with what the eye looks for first; one step, where the library has five."""
    line = {
        "timestamp": f"{datetime.now(UTC).isoformat(timespec='microseconds')[: -len('+00:00')]}Z",
        "level": method,
        "event": fields.pop("event"),
    }
    if "exc_info" in fields:
        render_exception(None, method, fields)
    return ENCODER.encode({**line, **fields})


def capture_standard_logging(logger: Logger) -> None:
    """Send what libraries log through our lines, without the parts that may hold a secret."""
    root = logging.getLogger()
    root.handlers = [_Forwarder(logger)]
    root.setLevel(logging.WARNING)


class _Forwarder(logging.Handler):
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
