"""Ends connections whose clients do not read what is sent to them."""

from __future__ import annotations

import asyncio
from typing import Protocol

WRITE_TIMEOUT = 30.0  # seconds; asyncio buffers 64 KiB, so that a client must read 2 kB/s
CHECK_SECONDS = 5.0


class Writing(Protocol):
    """A connection as far as its unread output is concerned."""

    @property
    def is_stuck(self) -> bool:
        """Say whether output waits for the client alone."""

    def abort(self) -> None:
        """End it at once, and drop what is unread."""


class SlowReaders:
    """Aborts a connection if its client has read too little for `WRITE_TIMEOUT` seconds.

    Closing it would not do: a transport that is closed waits for its output to be read. One timer
    looks at all connections, since a timer for each response would cost more than the response.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._connections: set[Writing] = set()
        self._stuck_since: dict[Writing, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._connections)

    def add(self, connection: Writing) -> None:
        """Look after a connection."""
        self._connections.add(connection)
        if self._timer is None:
            self._timer = self._loop.call_later(CHECK_SECONDS, self._check)

    def discard(self, connection: Writing) -> None:
        """Look after it no more."""
        self._connections.discard(connection)
        self._stuck_since.pop(connection, None)

    def note_progress(self, connection: Writing) -> None:
        """Note that the client has read a buffer full."""
        self._stuck_since.pop(connection, None)

    def _check(self) -> None:
        now, self._timer = self._loop.time(), None
        for connection in list(self._connections):
            if not connection.is_stuck:
                self._stuck_since.pop(connection, None)
            elif now - self._stuck_since.setdefault(connection, now) >= WRITE_TIMEOUT:
                connection.abort()
        if self._connections:
            self._timer = self._loop.call_later(CHECK_SECONDS, self._check)
