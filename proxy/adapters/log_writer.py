"""Writes log lines in a background thread, so that a stalled reader or a full disk delays no play.

To log, a play only appends to a queue. The thread writes the queued lines in batches, up to twenty
times a second. Lines beyond the queue's limit, and lines that cannot be written, are dropped and
counted.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import TextIO

MAX_QUEUED_LINES = 10_000  # a few seconds of full load, about 5 MB
BATCH_SECONDS = 0.05  # from the first queued line to the write
CLOSE_TIMEOUT_SECONDS = 2.0  # for a slow reader to take the remaining lines


class LogWriter:
    """A stream for log lines that a thread writes; open it with `open_log_writer`.

    Attributes:
        count_dropped: called with the number of lines that were dropped.
    """

    def __init__(self, stream: TextIO, *, max_lines: int) -> None:
        self._stream = stream
        self._max_lines = max_lines
        self._lines: deque[str] = deque()
        self._has_lines = Event()
        self._is_closing = Event()
        self._thread = Thread(target=self._write_until_closed, name="log", daemon=True)
        self.count_dropped: Callable[[int], None] = lambda _lines: None

    def write(self, line: str) -> None:
        """Queue a line, or drop and count it if the queue is full."""
        if len(self._lines) >= self._max_lines:
            self.count_dropped(1)
            return
        self._lines.append(line)
        if not self._has_lines.is_set():
            self._has_lines.set()

    def flush(self) -> None:
        """Do nothing: the thread flushes after each batch."""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Write the queued lines and stop; wait two seconds at most for a stalled reader."""
        self._is_closing.set()
        self._has_lines.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_TIMEOUT_SECONDS)

    def _write_until_closed(self) -> None:
        while not self._is_closing.is_set():
            self._has_lines.wait()
            self._is_closing.wait(BATCH_SECONDS)
            self._has_lines.clear()
            self._write_batch()
        if self._lines:  # queued while the last write was blocked
            self._write_batch()

    def _write_batch(self) -> None:
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        try:
            self._stream.write("".join(lines))
            self._stream.flush()
        except (OSError, ValueError):  # OSError: full disk, reader gone; ValueError: closed stream
            self.count_dropped(len(lines))


@contextmanager
def open_log_writer(stream: TextIO, *, max_lines: int = MAX_QUEUED_LINES) -> Iterator[LogWriter]:
    """Run a log writer for the duration of the context."""
    writer = LogWriter(stream, max_lines=max_lines)
    writer.start()
    try:
        yield writer
    finally:
        writer.close()
