"""Work that goes on behind requests, whoever stops waiting for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

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
        task.add_done_callback(self._ended)
        return task

    async def close(self) -> None:
        """Cancel what is not done."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, or asyncio would write about it


class SingleFlight(Generic[K, V]):
    """Shares a call that is in flight; keeps nothing once it has answered.

    The call is a task of its own: whoever hangs up leaves, and the others get their answer.
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

    def is_under_way(self, key: K) -> bool:
        """Say whether there is a call to join."""
        return key in self._flights

    async def close(self) -> None:
        """Cancel the calls in flight."""
        await self._tasks.close()
