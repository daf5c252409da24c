"""Background tasks, calls that concurrent callers share, and a concurrency limit."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from types import TracebackType
from typing import Any, Generic, TypeVar

from proxy.domain.reasons import build_overload_refusal

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BackgroundTasks:
    """Keeps references to running tasks, and cancels them on close."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a task. Its exception is raised where the task is awaited, and is not logged."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._discard_finished)
        return task

    async def close(self) -> None:
        """Cancel the unfinished tasks and wait until they have ended."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _discard_finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # or asyncio logs that the exception was never retrieved


class SingleFlight(Generic[K, V]):
    """Shares one call per key between concurrent callers; caches no result.

    Each call runs in its own task, so that a cancelled caller does not cancel the call.
    """

    def __init__(self, shared: Callable[[], None] = lambda: None) -> None:
        """Call `shared` whenever a caller joins a call that is already in flight."""
        self._count_shared = shared
        self._tasks = BackgroundTasks()
        self._flights: dict[K, asyncio.Task[V]] = {}

    async def join(self, key: K, call: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """Return the result of the call in flight for `key`; start `call` if there is none."""
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = self._tasks.spawn(call())
            flight.add_done_callback(lambda _flight: self._flights.pop(key))
        else:
            self._count_shared()
        return await asyncio.shield(flight)

    def is_in_flight(self, key: K) -> bool:
        """Return whether a call for `key` is in flight."""
        return key in self._flights

    async def close(self) -> None:
        """Cancel the calls in flight."""
        await self._tasks.close()


class ConcurrencyLimit:
    """Limits concurrent calls; further callers wait in a bounded FIFO queue."""

    def __init__(self, max_concurrent: int, *, queue: int, max_wait: float) -> None:
        """Admit `max_concurrent` calls; let `queue` callers wait up to `max_wait` seconds."""
        self._slots = asyncio.Semaphore(max_concurrent)  # first in, first out
        self._queue = queue
        self._max_wait = max_wait
        self.inside = 0
        self.waiting = 0

    async def __aenter__(self) -> None:
        """Take a slot, waiting for it if necessary.

        Raises:
            Refusal: `overloaded`, if the queue is full or the wait takes too long.
        """
        if self._slots.locked():
            await self._wait()
        else:
            await self._slots.acquire()  # returns without waiting
        self.inside += 1

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Free the slot for the caller that has waited longest."""
        self.inside -= 1
        self._slots.release()

    async def _wait(self) -> None:
        if self.waiting >= self._queue:
            raise build_overload_refusal(
                f"{self.inside} calls are in flight and {self.waiting} are waiting"
            )
        self.waiting += 1
        try:
            async with asyncio.timeout(self._max_wait):
                await self._slots.acquire()
        except TimeoutError:
            raise build_overload_refusal(f"waited {self._max_wait:g} s for a free slot") from None
        finally:
            self.waiting -= 1
