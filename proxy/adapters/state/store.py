"""What instances share: a few named values, and logs that everybody reads to the end.

Two implementations do this, one contract suite tests both (tests/adapters/test_stores.py). Where
the store cannot do what it is asked, it raises `StateError`.
"""

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, Protocol

from proxy.adapters.clock import Clock
from proxy.domain.caches import LruCache

StoreOperation = Literal["get", "put", "claim", "release", "append", "read", "probe"]

PAGE_SIZE = 1000  # entries of a log that are read at once


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPage:
    """A page of a log, the oldest entry first.

    `position` is where to read on from, and `is_last` says that there is nothing more. Where the
    store has lost what was at the position that was given, the reading is from the beginning, and
    not `is_continued`.
    """

    entries: tuple[str, ...]
    position: str
    is_continued: bool
    is_last: bool


class Store(Protocol):
    """Where instances share what they know; `ttl` and `keep` in seconds."""

    is_shared: bool  # or this instance's alone

    async def get(self, name: str) -> str | None:
        """Return a value, None where there is none."""

    async def put(self, name: str, value: str, *, ttl: float) -> None:
        """Set a value."""

    async def claim(self, name: str, value: str, *, ttl: float) -> str:
        """Set a value unless there is one; return the one that is there now. Atomic."""

    async def release(self, name: str, value: str) -> None:
        """Remove a value if it is still this one. Atomic."""

    async def append(self, log: str, entries: Sequence[str], *, keep: float) -> None:
        """Add to the end of a log, at least one, and let go of what is older than `keep`."""

    async def read(self, log: str, position: str) -> LogPage:
        """Return a page of what came after a position; the empty one is the beginning."""

    async def probe(self) -> None:
        """Return if reading and writing work."""

    async def close(self) -> None:
        """Let go of connections."""


MAX_ENTRIES = 100_000  # values, and entries of each log


class MemoryStore:
    """The state of a single instance."""

    is_shared = False

    def __init__(self, clock: Clock, *, max_entries: int = MAX_ENTRIES) -> None:
        self._clock = clock
        self._max_entries = max_entries
        self._values: LruCache[str, tuple[str, float]] = LruCache(
            max_entries
        )  # and when they expire
        self._logs: defaultdict[str, deque[tuple[int, str, float]]] = defaultdict(deque)
        self._appended = 0

    async def get(self, name: str) -> str | None:
        """Return a value, None where there is none."""
        value, expires_at = self._values.get(name) or ("", 0.0)
        return value if self._clock.monotonic() < expires_at else None

    async def put(self, name: str, value: str, *, ttl: float) -> None:
        """Set a value."""
        self._values[name] = value, self._clock.monotonic() + ttl

    async def claim(self, name: str, value: str, *, ttl: float) -> str:
        """Set a value unless there is one; return the one that is there now."""
        held = await self.get(name)
        if held is None:
            await self.put(name, value, ttl=ttl)
        return value if held is None else held

    async def release(self, name: str, value: str) -> None:
        """Remove a value if it is still this one."""
        if await self.get(name) == value:
            self._values.pop(name)

    async def append(self, log: str, entries: Sequence[str], *, keep: float) -> None:
        """Add to the end of a log, at least one, and let go of what is older than `keep`."""
        kept, now = self._logs[log], self._clock.monotonic()
        for entry in entries:
            self._appended += 1
            kept.append((self._appended, entry, now))
        while kept[0][2] < now - keep or len(kept) > self._max_entries:
            kept.popleft()

    async def read(self, log: str, position: str) -> LogPage:
        """Return a page of what came after a position; nothing is ever lost before its time."""
        last = int(position or 0)
        fresh = ((number, entry) for number, entry, _ in self._logs[log] if number > last)
        found = tuple(islice(fresh, PAGE_SIZE))
        return LogPage(
            entries=tuple(entry for _, entry in found),
            position=str(found[-1][0]) if found else position,
            is_continued=True,
            is_last=len(found) < PAGE_SIZE,
        )

    async def probe(self) -> None:
        """Do nothing: memory is there."""

    async def close(self) -> None:
        """Do nothing: there are no connections."""
