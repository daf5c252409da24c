"""What instances share: a few named values, and logs that everybody reads to the end.

Two implementations do this, one contract suite tests both (tests/adapters/test_stores.py). Where
the store cannot do what it is asked, it raises `StateError`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

Operation = Literal["get", "put", "claim", "release", "append", "read", "probe"]

PAGE = 1000  # entries of a log that are read at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
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

    async def read(self, log: str, position: str) -> Reading:
        """Return a page of what came after a position; the empty one is the beginning."""

    async def probe(self) -> None:
        """Return if reading and writing work."""

    async def close(self) -> None:
        """Let go of connections."""
