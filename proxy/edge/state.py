"""The state as the edge uses it: within its time, and not asked while it is known to be down.

A play waits for `state.timeout` at most, once: from then on every question is refused at once,
until a probe behind the plays finds reading and writing to work again. What to do without an answer
is decided where the question is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, Literal, TypeVar

from proxy.adapters.clock import Clock
from proxy.adapters.metrics import Metrics
from proxy.adapters.state.store import Operation, Reading, Store
from proxy.domain.reasons import Reason, Refusal
from proxy.edge.health import Health

T = TypeVar("T")

OnFailure = Literal["allow", "deny"]  # what to do where the state does not answer

PROBE_PAUSE = 0.25  # seconds between probes of a state that is down
BACKGROUND_TIMEOUT = 2.0  # seconds for what no play waits for


class State:
    """Asks the store; refuses with `state-unavailable`, and soon."""

    def __init__(
        self, store: Store, *, clock: Clock, metrics: Metrics, health: Health, timeout: float
    ) -> None:
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._health = health
        self._timeout = timeout
        self._is_down = False
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def is_shared(self) -> bool:
        """Say whether other instances see it."""
        return self._store.is_shared

    async def open(self) -> None:
        """Connect if that can be done now: it takes longer than a play waits."""
        with suppress(Refusal):
            await self.probe()

    async def probe(self) -> None:
        """Find out whether reading and writing work, or refuse."""
        await self._ask("probe", self._store.probe, timeout=BACKGROUND_TIMEOUT)

    async def get(self, name: str) -> str | None:
        """Return a value, None where there is none, or refuse."""
        return await self._ask("get", partial(self._store.get, name))

    async def put(self, name: str, value: str, *, ttl: float) -> None:
        """Set a value for `ttl` seconds, or refuse."""
        await self._ask("put", partial(self._store.put, name, value, ttl=ttl))

    async def claim(self, name: str, value: str, *, ttl: float) -> str:
        """Set a value unless there is one, and return the one that is there now, or refuse."""
        return await self._ask("claim", partial(self._store.claim, name, value, ttl=ttl))

    async def release(self, name: str, value: str) -> None:
        """Remove a value if it is still this one, or refuse."""
        await self._ask("release", partial(self._store.release, name, value))

    async def append(self, log: str, entry: str, *, keep: float) -> None:
        """Add to the end of a log that keeps its entries for so many seconds, or refuse."""
        await self._ask(
            "append", partial(self._store.append, log, entry, keep=keep), timeout=BACKGROUND_TIMEOUT
        )

    async def read(self, log: str, position: str) -> Reading:
        """Return what came after a position in a log, or refuse."""
        return await self._ask(
            "read", partial(self._store.read, log, position), timeout=BACKGROUND_TIMEOUT
        )

    async def close(self) -> None:
        """Give up what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._store.close()

    async def _ask(
        self,
        operation: Operation,
        question: Callable[[], Coroutine[Any, Any, T]],
        *,
        timeout: float | None = None,  # noqa: ASYNC109  # of the wait, not of the question
    ) -> T:
        if self._is_down and operation != "probe":
            raise Refusal(Reason.STATE_UNAVAILABLE, "the state is down")
        started, outcome = self._clock.monotonic(), "timeout"
        # A task of its own: a connection that takes longer than the play waits still comes about.
        asking = self._spawn(question())
        try:
            answer, outcome = await _answer(asking, timeout or self._timeout), "ok"
        except Refusal as refusal:
            outcome = "error" if asking.done() else "timeout"
            self._note_failure(refusal)
            raise Refusal(refusal.reason, refusal.detail) from None
        finally:
            self._metrics.state_duration.labels(operation=operation, outcome=outcome).observe(
                self._clock.monotonic() - started
            )
        if operation == "probe":
            self._is_down = False
            self._health.note_success("state")
        return answer

    def _note_failure(self, refusal: Refusal) -> None:
        self._health.note_refusal("state", refusal)
        if not self._is_down:
            self._is_down = True
            self._spawn(self._recover())

    async def _recover(self) -> None:
        while self._is_down:
            await self.open()
            if self._is_down:
                await self._clock.sleep(PROBE_PAUSE)

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, or asyncio would write about it


async def _answer(asking: asyncio.Task[T], timeout: float) -> T:  # noqa: ASYNC109  # as above
    """Return the answer, or refuse where it takes too long; the question stays asked."""
    done, _ = await asyncio.wait({asking}, timeout=timeout)
    if not done:
        raise Refusal(Reason.STATE_UNAVAILABLE, "the state did not answer in time")
    return asking.result()
