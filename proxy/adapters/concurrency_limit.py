"""A concurrency limit with a bounded FIFO queue.

An overload sheds the newest: whoever waits already is served, and a call beyond the queue is
refused at once, which costs nothing.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

from proxy.domain.reasons import overloaded


class ConcurrencyLimit:
    """Admits so many calls at once."""

    def __init__(self, max_concurrent: int, *, queue: int, max_wait: float) -> None:
        """Admit `max_concurrent` at once; let `queue` others wait for `max_wait` seconds."""
        self._places = asyncio.Semaphore(max_concurrent)  # fair: first come, first served
        self._queue = queue
        self._max_wait = max_wait
        self.inside = 0
        self.waiting = 0

    async def __aenter__(self) -> None:
        """Wait for a place and keep it, or refuse with `overloaded`."""
        if self._places.locked():
            await self._wait()
        else:
            await self._places.acquire()  # at once
        self.inside += 1

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Leave the place to who waits for it."""
        self.inside -= 1
        self._places.release()

    async def _wait(self) -> None:
        if self.waiting >= self._queue:
            raise overloaded(f"{self.inside} calls are under way, and {self.waiting} wait")
        self.waiting += 1
        try:
            async with asyncio.timeout(self._max_wait):
                await self._places.acquire()
        except TimeoutError:
            raise overloaded(f"waited for {self._max_wait:g} s") from None
        finally:
            self.waiting -= 1
