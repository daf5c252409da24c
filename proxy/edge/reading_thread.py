"""The thread that reads large playlists, one at a time; their owners take turns."""

import asyncio
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import TypeVar
from weakref import WeakValueDictionary

from proxy.domain.reasons import Reason, Refusal, overloaded

T = TypeVar("T")

MAX_WAIT_SECONDS = 4.0  # for its turn; players ask again
MAX_SECONDS = 8.0  # the longest that may be read take a second
LARGE = 8_000  # bytes: an ordinary one takes 9 ms, and one of single letters 50


class ReadingThread:
    """Reads playlists without holding up anybody else.

    Two threads would read no faster, since Python runs one at a time, and answers would wait for
    both. An owner, a viewer's network say, has one playlist in the queue: owners take turns.
    """

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="playlists")
        self._free = asyncio.Lock()
        self._turns: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()

    async def run(self, size: int, work: Callable[[], T], *, owner: Hashable) -> T:
        """Return what `work` does with so many bytes: at once if they are few.

        Raises:
            Refusal: `overloaded`, if its turn does not come; `playlist-invalid`, if it takes
                longer than `MAX_SECONDS`. The thread goes on.
        """
        if size < LARGE:
            return work()
        turn = self._turns.setdefault(owner, asyncio.Lock())
        async with AsyncExitStack() as held:
            try:
                async with asyncio.timeout(MAX_WAIT_SECONDS):
                    await held.enter_async_context(turn)
                    await held.enter_async_context(self._free)
            except TimeoutError:
                raise overloaded(f"a playlist waited {MAX_WAIT_SECONDS:g} s to be read") from None
            try:
                async with asyncio.timeout(MAX_SECONDS):
                    return await asyncio.get_running_loop().run_in_executor(self._executor, work)
            except TimeoutError:
                detail = f"reading the playlist took more than {MAX_SECONDS:g} s"
                raise Refusal(Reason.PLAYLIST_INVALID, detail) from None
