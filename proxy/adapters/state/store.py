"""The store for the state that instances share: named values, and append-only logs.

There are two implementations, Redis and memory; the same tests run against both
(tests/adapters/test_stores.py). Every operation that fails raises `StateError`.
"""

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, Protocol

from proxy.adapters.clock import Clock
from proxy.domain.caches import LruCache

StoreOperation = Literal["get", "put", "claim", "release", "append", "read", "probe"]

PAGE_SIZE = 1000  # log entries per read


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPage:
    """A page of a log, the oldest entry first.

    Attributes:
        entries: the entries after the requested position.
        position: the position from which to read the next page.
        is_continued: False if the store has lost the entry at the requested position. The page is
            then the first page of the log.
        is_last: whether the log has no further entries.
    """

    entries: tuple[str, ...]
    position: str
    is_continued: bool
    is_last: bool


class Store(Protocol):
    """A store for the state of one or several instances; `ttl` and `keep` are in seconds."""

    is_shared: bool  # whether other instances read and write the same state

    async def get(self, name: str) -> str | None:
        """Return the value under `name`, or None."""

    async def put(self, name: str, value: str, *, ttl: float) -> None:
        """Set the value under `name`."""

    async def claim(self, name: str, value: str, *, ttl: float) -> str:
        """Set the value if there is none; return the value that is stored then. Atomic."""

    async def release(self, name: str, value: str) -> None:
        """Delete `name` if its value is `value`. Atomic."""

    async def append(self, log: str, entries: Sequence[str], *, keep: float) -> None:
        """Append one or more entries to a log, and remove entries older than `keep`."""

    async def read(self, log: str, position: str) -> LogPage:
        """Return the page of entries after `position`; an empty position is the beginning."""

    async def probe(self) -> None:
        """Raise StateError unless reading and writing work."""

    async def close(self) -> None:
        """Close the connections."""


MAX_ENTRIES = 100_000  # limits the values, and the entries of each log


class MemoryStore:
    """Stores the state of a single instance in memory."""

    is_shared = False

    def __init__(self, clock: Clock, *, max_entries: int = MAX_ENTRIES) -> None:
        self._clock = clock
        self._max_entries = max_entries
        # Each value with its expiry, and each log entry with its number and time of appending; all
        # times in seconds of the monotonic clock.
        self._values: LruCache[str, tuple[str, float]] = LruCache(max_entries)
        self._logs: defaultdict[str, deque[tuple[int, str, float]]] = defaultdict(deque)
        self._last_number = 0

    async def get(self, name: str) -> str | None:
        """Return the value under `name`, or None."""
        value, expires_at = self._values.get(name) or ("", 0.0)
        return value if self._clock.monotonic() < expires_at else None

    async def put(self, name: str, value: str, *, ttl: float) -> None:
        """Set the value under `name`."""
        self._values[name] = value, self._clock.monotonic() + ttl

    async def claim(self, name: str, value: str, *, ttl: float) -> str:
        """Set the value of `name` if it has none; return the value that `name` has afterwards."""
        stored = await self.get(name)
        if stored is None:
            await self.put(name, value, ttl=ttl)
        return value if stored is None else stored

    async def release(self, name: str, value: str) -> None:
        """Delete `name` if its value is `value`."""
        if await self.get(name) == value:
            self._values.pop(name)

    async def append(self, log: str, entries: Sequence[str], *, keep: float) -> None:
        """Append one or more entries to a log, and remove entries older than `keep`."""
        stored, now = self._logs[log], self._clock.monotonic()
        for entry in entries:
            self._last_number += 1
            stored.append((self._last_number, entry, now))
        while stored[0][2] < now - keep or len(stored) > self._max_entries:
            stored.popleft()

    async def read(self, log: str, position: str) -> LogPage:
        """Return the page of entries after `position`; memory loses no entry, so it continues."""
        last = int(position or 0)
        following = ((number, entry) for number, entry, _ in self._logs[log] if number > last)
        page = tuple(islice(following, PAGE_SIZE))
        return LogPage(
            entries=tuple(entry for _, entry in page),
            position=str(page[-1][0]) if page else position,
            is_continued=True,
            is_last=len(page) < PAGE_SIZE,
        )

    async def probe(self) -> None:
        """Do nothing: memory always works."""

    async def close(self) -> None:
        """Do nothing: there are no connections."""
