"""Log lines written behind the plays: whoever reads them may stall, and a disk may be full.

A line costs a play an entry in a queue; a thread of its own writes what has gathered, a few times a
second at most. What nobody takes is lost and counted, never waited for.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import TextIO

MAX_QUEUED_LINES = 10_000  # lines that wait: some seconds of a full load, 5 MB
BATCH_SECONDS = 0.05  # seconds from a line to its writing
CLOSE_TIMEOUT_SECONDS = 2.0  # seconds that a reader gets at the end


class LogWriter:
    """A stream whose lines are written by a thread; `writing` runs it."""

    def __init__(self, stream: TextIO, *, max_lines: int) -> None:
        self._stream = stream
        self._max_lines = max_lines
        self._lines: deque[str] = deque()
        self._has_lines = Event()
        self._is_over = Event()
        self._thread = Thread(target=self._write_until_closed, name="log", daemon=True)
        self.count_lost: Callable[[int], None] = lambda _lines: None

    def write(self, line: str) -> None:
        """Take a line, or lose it where too many wait already."""
        if len(self._lines) >= self._max_lines:
            self.count_lost(1)
            return
        self._lines.append(line)
        if not self._has_lines.is_set():
            self._has_lines.set()

    def flush(self) -> None:
        """Do nothing: the thread does."""

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def close(self) -> None:
        """Write what is left, if somebody takes it."""
        self._is_over.set()
        self._has_lines.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_TIMEOUT_SECONDS)

    def _write_until_closed(self) -> None:
        while not self._is_over.is_set():
            self._has_lines.wait()
            self._is_over.wait(BATCH_SECONDS)
            self._has_lines.clear()
            self._write_batch()
        if self._lines:  # that came while the last write was stuck
            self._write_batch()

    def _write_batch(self) -> None:
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        try:
            self._stream.write("".join(lines))
            self._stream.flush()
        except (OSError, ValueError):  # a full disk, a reader that is gone; a stream that is closed
            self.count_lost(len(lines))


@contextmanager
def open_log_writer(stream: TextIO, *, max_lines: int = MAX_QUEUED_LINES) -> Iterator[LogWriter]:
    """Run a writer until the context is left."""
    writer = LogWriter(stream, max_lines=max_lines)
    writer.start()
    try:
        yield writer
    finally:
        writer.close()
