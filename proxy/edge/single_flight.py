"""One call for all who ask for the same thing at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SingleFlight(Generic[K, V]):
    """Shares a call that is under way; keeps nothing once it has answered.

    The call is a task of its own: whoever hangs up leaves, and the others get their answer.
    """

    def __init__(self, shared: Callable[[], None] = lambda: None) -> None:
        """Begin with none under way; `shared` is told whenever somebody joins one."""
        self._shared = shared
        self._flights: dict[K, asyncio.Task[V]] = {}

    async def join(self, key: K, call: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """Return what the call under way for `key` returns, starting it if there is none."""
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.create_task(call())
            self._flights[key] = flight
            flight.add_done_callback(partial(self._land, key))
        else:
            self._shared()
        return await asyncio.shield(flight)

    def _land(self, key: K, flight: asyncio.Task[V]) -> None:
        del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # or asyncio complains of one that failed when all had left

    def is_under_way(self, key: K) -> bool:
        """Say whether there is a call to join."""
        return key in self._flights

    async def close(self) -> None:
        """End the calls under way."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)
