"""The state as the edge uses it: within its time, and not asked while it is known to be down.

A play waits for `state.timeout` at most. An answer that stays out has the store probed, behind the
plays; where that fails too, every question is refused at once, until a probe finds reading and
writing to work again. What to do without an answer is decided where the question is asked.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeVar

from proxy.adapters.concurrency import BackgroundTasks
from proxy.adapters.errors import StateError
from proxy.adapters.state.store import PAGE_SIZE, LogPage, Store, StoreOperation
from proxy.adapters.telemetry import Telemetry
from proxy.domain.reasons import Reason, Refusal

T = TypeVar("T")

PROBE_TIMEOUT_SECONDS = 0.25  # seconds after which a store that did not answer in time is down
PROBE_INTERVAL_SECONDS = 0.25  # seconds between probes of one that is down
BACKGROUND_TIMEOUT_SECONDS = 2.0  # seconds for what no play waits for


def build_state_refusal(error: StateError) -> Refusal:
    """Return what a failure of the state means for a play that cannot do without it."""
    return Refusal(Reason.STATE_UNAVAILABLE, error.detail)


class SharedState:
    """Asks the store; raises `StateError` soon, if it does not answer."""

    def __init__(self, store: Store, telemetry: Telemetry, *, timeout: float) -> None:
        self._store = store
        self._telemetry = telemetry
        self._clock = telemetry.clock
        self._duration = telemetry.metrics.state.duration
        self._timeout = timeout
        self._is_down = False
        self._probing: asyncio.Task[None] | None = None
        self._tasks = BackgroundTasks()

    @property
    def is_shared(self) -> bool:
        """Say whether other instances see it."""
        return self._store.is_shared

    async def open(self) -> None:
        """Connect if that can be done now: it takes longer than a play waits."""
        try:
            await self.probe()
        except StateError:
            self._start_probing()

    async def probe(self, within: float = BACKGROUND_TIMEOUT_SECONDS) -> None:
        """Find out within so many seconds whether reading and writing work."""
        await self._run("probe", self._store.probe, within=within)

    async def get(self, name: str) -> str | None:
        """Return a value, None where there is none."""
        return await self._run("get", partial(self._store.get, name))

    async def put(self, name: str, value: str, *, ttl: float) -> None:
        """Set a value for `ttl` seconds."""
        await self._run("put", partial(self._store.put, name, value, ttl=ttl))

    async def claim(
        self, name: str, value: str, *, ttl: float, heard: Callable[[str], None] | None = None
    ) -> str:
        """Set a value unless there is one, and return the one that is there now.

        `heard` is told which it is, also where the answer comes after the refusal.
        """

        async def claim() -> str:
            holder = await self._store.claim(name, value, ttl=ttl)
            if heard is not None:
                heard(holder)
            return holder

        return await self._run("claim", claim)

    async def release(self, name: str, value: str) -> None:
        """Remove a value if it is still this one."""
        await self._run("release", partial(self._store.release, name, value))

    async def append(self, log: str, entries: Sequence[str], *, keep: float) -> None:
        """Add to the end of a log that keeps its entries for so many seconds."""
        for start in range(0, len(entries), PAGE_SIZE):
            page = entries[start : start + PAGE_SIZE]
            await self._run(
                "append",
                partial(self._store.append, log, page, keep=keep),
                within=BACKGROUND_TIMEOUT_SECONDS,
            )

    async def read(self, log: str, position: str) -> LogPage:
        """Return a page of what came after a position in a log."""
        return await self._run(
            "read", partial(self._store.read, log, position), within=BACKGROUND_TIMEOUT_SECONDS
        )

    async def close(self) -> None:
        """Give up what is under way."""
        await self._tasks.close()
        await self._store.close()

    async def _run(
        self,
        operation: StoreOperation,
        question: Callable[[], Coroutine[Any, Any, T]],
        *,
        within: float | None = None,  # seconds; the question itself goes on
    ) -> T:
        if not self._store.is_shared:  # this process's own memory, which answers at once
            self._duration.labels(operation=operation, outcome="ok").observe(0)
            return await question()
        if self._is_down and operation != "probe":
            raise StateError("the state is down")
        started, outcome = self._clock.monotonic(), "abandoned"
        # A task of its own: a connection that takes longer than the play waits still comes about.
        asking = self._tasks.spawn(question())
        try:
            answer, outcome = await _await_result(asking, within or self._timeout), "ok"
        except StateError as error:
            outcome = "error" if asking.done() else "timeout"
            if operation != "probe":
                self._start_probing()
            raise StateError(error.detail) from None
        except Exception as error:  # a bug: it is no play's fault
            outcome = "error"
            self._telemetry.log.exception("internal", task="state")
            raise StateError(f"the state failed ({type(error).__name__})") from None
        finally:
            self._duration.labels(operation=operation, outcome=outcome).observe(
                self._clock.monotonic() - started
            )
        return answer

    def _start_probing(self) -> None:
        if self._probing is None or self._probing.done():
            self._probing = self._tasks.spawn(self._probe_until_healthy())

    async def _probe_until_healthy(self) -> None:
        while True:
            try:
                await self.probe(
                    BACKGROUND_TIMEOUT_SECONDS if self._is_down else PROBE_TIMEOUT_SECONDS
                )
            except StateError as error:
                self._is_down = True
                self._telemetry.health.record_refusal("state", build_state_refusal(error))
                await self._clock.sleep(PROBE_INTERVAL_SECONDS)
            else:
                self._is_down = False
                self._telemetry.health.record_success("state")
                return


async def _await_result(asking: asyncio.Task[T], within: float) -> T:
    """Return the answer, or refuse where it takes too long; the question stays asked."""
    loop = asyncio.get_running_loop()
    due = loop.time() + within
    await asyncio.wait({asking}, timeout=within)
    if not asking.done() and (overslept := loop.time() - due) > 0:
        # While this process was busy with something else, the store had no chance.
        await asyncio.wait({asking}, timeout=min(overslept, within))
    if not asking.done():
        raise StateError("the state did not answer in time")
    return asking.result()
