"""State within one process: gone with it, and bounded, the oldest going first."""

from collections import defaultdict, deque
from collections.abc import Sequence
from itertools import islice

from proxy.adapters.clock import Clock
from proxy.adapters.state.store import PAGE, Reading
from proxy.domain.caches import Lru

MOST = 100_000  # values, and entries of each log


class MemoryStore:
    """The state of a single instance."""

    is_shared = False

    def __init__(self, clock: Clock, *, most: int = MOST) -> None:
        self._clock = clock
        self._most = most
        self._values: Lru[str, tuple[str, float]] = Lru(most)  # and when they expire
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
        while kept[0][2] < now - keep or len(kept) > self._most:
            kept.popleft()

    async def read(self, log: str, position: str) -> Reading:
        """Return a page of what came after a position; nothing is ever lost before its time."""
        last = int(position or 0)
        fresh = ((number, entry) for number, entry, _ in self._logs[log] if number > last)
        found = tuple(islice(fresh, PAGE))
        return Reading(
            entries=tuple(entry for _, entry in found),
            position=str(found[-1][0]) if found else position,
            is_continued=True,
            is_last=len(found) < PAGE,
        )

    async def probe(self) -> None:
        """Do nothing: memory is there."""

    async def close(self) -> None:
        """Do nothing: there are no connections."""
