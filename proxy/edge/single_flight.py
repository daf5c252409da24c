"""One call for all who ask for the same thing at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from proxy.adapters.background import BackgroundTasks

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


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
