"""Log lines: JSON, one event a line, and what must never be in one.

Nothing here is given a token, a stream URL or a secret; the names of the fields are interface and
are listed in docs/operations.md.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TextIO, cast

import structlog

from proxy.adapters.clock import Clock

Logger = structlog.typing.FilteringBoundLogger

ENCODER = json.JSONEncoder(ensure_ascii=False, default=repr)


@dataclass(slots=True)
class Timings:
    """Where one request's time went, in seconds."""

    upstream: float = 0.0


# Of the request at hand; set anew by the middleware that writes the line.
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


def build_logger(stream: TextIO | None = None) -> Logger:
    """Return a logger that writes JSON lines to a stream, standard output by default."""
    logger = structlog.wrap_logger(
        structlog.WriteLogger(cast("TextIO", Unfailing(stream or sys.stdout))),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.ExceptionRenderer(
                structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
            ),
            in_reading_order,
            as_json,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    # Bound once, or the library would make a logger for each line.
    return cast("Logger", logger.bind())


class Unfailing:
    """A stream whose loss is no reason to refuse a play: a full disk, a reader that went away."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write, or lose the line."""
        with suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        """Flush, or lose what was buffered."""
        with suppress(OSError):
            self._stream.flush()


def in_reading_order(
    _logger: object, _method: str, fields: MutableMapping[str, Any]
) -> dict[str, Any]:
    """Put first what the eye looks for first."""
    first = {name: fields.pop(name) for name in ("timestamp", "level", "event")}
    return {**first, **fields}


def as_json(_logger: object, _method: str, fields: MutableMapping[str, Any]) -> str:
    """Write a line; with an encoder of our own, since `json.dumps` would make one for each."""
    return ENCODER.encode(fields)


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
