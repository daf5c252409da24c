"""Run long computations on the event loop in short slices, so that other requests go on."""

import asyncio
from collections.abc import AsyncIterator, Generator, Hashable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from proxy.adapters.clock import Clock
from proxy.domain.reasons import Reason, Refusal, build_overload_refusal

T = TypeVar("T")
SLICE_SECONDS = 0.002  # after which other requests get a turn
MAX_QUEUE_SECONDS = 4.0  # that a long computation waits for its turn; players retry
MAX_COMPUTATION_SECONDS = 8.0  # the largest accepted playlists take about two seconds


class SlicedWork:
    """Runs computations that yield where they may pause.

    A computation that fits into one slice runs at once. Of the longer ones, one runs at a time, and
    owners (the viewers' networks, for example) take turns.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._free = asyncio.Lock()
        self._turns: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()

    async def run(self, work: Generator[None, None, T], *, owner: Hashable) -> T:
        """Run a computation to its end; return its result.

        Raises:
            Refusal: `overloaded` if it waits longer than `MAX_QUEUE_SECONDS` for its turn;
                `playlist-invalid` if it takes longer than `MAX_COMPUTATION_SECONDS`.
        """
        try:
            self._run_slice(work)
            async with self._turn(owner):
                for _ in range(int(MAX_COMPUTATION_SECONDS / SLICE_SECONDS)):
                    await asyncio.sleep(0)
                    self._run_slice(work)
        except _Finished as finished:
            result: T = finished.result
            return result
        work.close()
        detail = f"reading the playlist took more than {MAX_COMPUTATION_SECONDS:g} s"
        raise Refusal(Reason.PLAYLIST_INVALID, detail)

    def _run_slice(self, work: Generator[None, None, T]) -> None:
        """Run until the slice is over. Raises _Finished at the end of the computation."""
        end = self._clock.monotonic() + SLICE_SECONDS
        try:
            while self._clock.monotonic() < end:
                next(work)
        except StopIteration as stop:
            raise _Finished(stop.value) from None

    @asynccontextmanager
    async def _turn(self, owner: Hashable) -> AsyncIterator[None]:
        turn = self._turns.setdefault(owner, asyncio.Lock())
        async with AsyncExitStack() as locks:
            try:
                async with asyncio.timeout(MAX_QUEUE_SECONDS):
                    await locks.enter_async_context(turn)
                    await locks.enter_async_context(self._free)
            except TimeoutError:
                raise build_overload_refusal(
                    f"a playlist waited {MAX_QUEUE_SECONDS:g} s for its turn"
                ) from None
            yield


class _Finished(Exception):  # it ends a loop, and is no error
    def __init__(self, result: Any) -> None:  # an exception class cannot be generic
        super().__init__()
        self.result = result
