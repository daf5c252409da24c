"""Background tasks, shared calls, and a concurrency limit."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from types import TracebackType
from typing import Any, Generic, TypeVar

from proxy.domain.reasons import build_overload_refusal

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BackgroundTasks:
    """Keeps tasks alive until they are done, and cancels the rest at the end."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start some work; its error is its caller's to see, or nobody's."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._discard_finished)
        return task

    async def close(self) -> None:
        """Cancel what is not done."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _discard_finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, or asyncio would write about it


class SingleFlight(Generic[K, V]):
    """Shares one call between concurrent callers; keeps no result.

    The call is a task of its own: a caller that leaves does not cancel it.
    """

    def __init__(self, shared: Callable[[], None] = lambda: None) -> None:
        """Begin with none in flight; `shared` is called whenever somebody joins one."""
        self._shared = shared
        self._tasks = BackgroundTasks()
        self._flights: dict[K, asyncio.Task[V]] = {}

    async def join(self, key: K, call: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """Return what the call in flight for `key` returns, starting it if there is none."""
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = self._tasks.spawn(call())
            flight.add_done_callback(lambda _flight: self._flights.pop(key))
        else:
            self._shared()
        return await asyncio.shield(flight)

    def is_in_flight(self, key: K) -> bool:
        """Say whether there is a call to join."""
        return key in self._flights

    async def close(self) -> None:
        """Cancel the calls in flight."""
        await self._tasks.close()


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
            raise build_overload_refusal(
                f"{self.inside} calls are under way, and {self.waiting} wait"
            )
        self.waiting += 1
        try:
            async with asyncio.timeout(self._max_wait):
                await self._places.acquire()
        except TimeoutError:
            raise build_overload_refusal(f"waited for {self._max_wait:g} s") from None
        finally:
            self.waiting -= 1
