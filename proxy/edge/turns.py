"""One computation at a time, with a fair queue."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import AsyncExitStack, asynccontextmanager
from weakref import WeakValueDictionary

from proxy.domain.reasons import build_overload_refusal

MAX_QUEUE_SECONDS = 4.0  # that a playlist waits for its turn; players retry


class Turns:
    """Lets one caller in at a time.

    Each owner (a viewer's network, for example) has at most one caller in the queue, so that owners
    take turns.
    """

    def __init__(self) -> None:
        self._free = asyncio.Lock()
        self._owners: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def take(self, owner: Hashable) -> AsyncIterator[None]:
        """Wait for a turn. Raises Refusal `overloaded` after `MAX_QUEUE_SECONDS`."""
        lock = self._owners.setdefault(owner, asyncio.Lock())
        async with AsyncExitStack() as locks:
            try:
                async with asyncio.timeout(MAX_QUEUE_SECONDS):
                    await locks.enter_async_context(lock)
                    await locks.enter_async_context(self._free)
            except TimeoutError:
                raise build_overload_refusal(
                    f"a playlist waited {MAX_QUEUE_SECONDS:g} s for its turn"
                ) from None
            yield
