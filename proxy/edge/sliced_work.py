"""Run long computations on the event loop in short slices, so that other requests go on."""

import asyncio
from collections.abc import Generator, Hashable
from typing import TypeVar

from proxy.adapters.clock import Clock
from proxy.domain.reasons import Reason, Refusal
from proxy.edge.turns import Turns

T = TypeVar("T")
SLICE_SECONDS = 0.001  # after which other requests get a turn
MAX_COMPUTATION_SECONDS = 8.0  # hostile playlists take up to 6 s


class SlicedWork:
    """Runs computations that yield where they may pause.

    A computation that fits into one slice runs at once. Of the longer ones, one runs at a time, and
    owners (the viewers' networks, for example) take turns.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._turns = Turns()

    async def run(self, work: Generator[None, None, T], *, owner: Hashable) -> T:
        """Run a computation to its end; return its result.

        Raises:
            Refusal: `overloaded` if it waits too long for its turn; `playlist-invalid` if it takes
                longer than `MAX_COMPUTATION_SECONDS`.
        """
        result: T
        try:
            self._run_slice(work)
            async with self._turns.take(owner):
                for _ in range(int(MAX_COMPUTATION_SECONDS / SLICE_SECONDS)):
                    await asyncio.sleep(0)
                    self._run_slice(work)
        except _Finished as finished:
            (result,) = finished.args
            return result
        work.close()
        detail = f"reading the playlist took more than {MAX_COMPUTATION_SECONDS:g} s"
        raise Refusal(Reason.PLAYLIST_INVALID, detail)

    def _run_slice(self, work: Generator[None, None, T]) -> None:
        """Run until the slice is over. Raises _Finished at the end of the computation."""
        read_clock = self._clock.monotonic
        end = read_clock() + SLICE_SECONDS
        try:
            while read_clock() < end:
                next(work)
        except StopIteration as stop:
            raise _Finished(stop.value) from None


class _Finished(Exception):  # carries the result out of the loop; not an error
    pass
