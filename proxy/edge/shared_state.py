"""Access the shared state with a timeout and a circuit breaker.

A play waits at most `state.timeout`. After a timeout or an error, the store is probed in the
background. If the probe fails too, every request to the store fails at once, until a probe succeeds
in reading and writing. Each caller decides how to handle the `StateError`.
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

PROBE_TIMEOUT_SECONDS = 0.25  # of the first probe; if it fails, the store counts as down
PROBE_INTERVAL_SECONDS = 0.25  # between probes while the store is down
BACKGROUND_TIMEOUT_SECONDS = 2.0  # of requests that no play waits for


def build_state_refusal(error: StateError) -> Refusal:
    """Return the refusal of a play that needs the shared state while the state fails."""
    return Refusal(Reason.STATE_UNAVAILABLE, error.detail)


class SharedState:
    """Sends requests to the store. A request raises `StateError` if the store fails or is slow."""

    def __init__(self, store: Store, telemetry: Telemetry, *, timeout: float) -> None:
        self._store = store
        self._telemetry = telemetry
        self._clock = telemetry.clock
        self._duration = telemetry.metrics.state.duration
        self._timeout = timeout
        self._is_down = False
        self._probe_task: asyncio.Task[None] | None = None
        self._tasks = BackgroundTasks()

    @property
    def is_shared(self) -> bool:
        """Whether other instances use the same store."""
        return self._store.is_shared

    async def open(self) -> None:
        """Connect to the store before plays have to wait for it; on failure, keep probing."""
        try:
            await self.probe()
        except StateError:
            self._start_probing()

    async def probe(self, max_seconds: float = BACKGROUND_TIMEOUT_SECONDS) -> None:
        """Check that the store can be read and written within `max_seconds`."""
        await self._run("probe", self._store.probe, max_seconds=max_seconds)

    async def get(self, name: str) -> str | None:
        """Return a value, or None if the name is not set."""
        return await self._run("get", partial(self._store.get, name))

    async def put(self, name: str, value: str, *, ttl: float) -> None:
        """Set a value for `ttl` seconds."""
        await self._run("put", partial(self._store.put, name, value, ttl=ttl))

    async def claim(
        self, name: str, value: str, *, ttl: float, on_holder: Callable[[str], None] | None = None
    ) -> str:
        """Set a value for `ttl` seconds unless the name is set; return the value that is now set.

        `on_holder` is called with that value, even if the store responds after the timeout.
        """

        async def claim() -> str:
            holder = await self._store.claim(name, value, ttl=ttl)
            if on_holder is not None:
                on_holder(holder)
            return holder

        return await self._run("claim", claim)

    async def release(self, name: str, value: str) -> None:
        """Delete a name if its value is still `value`."""
        await self._run("release", partial(self._store.release, name, value))

    async def append(self, log: str, entries: Sequence[str], *, keep: float) -> None:
        """Append entries to a log, which keeps them for at least `keep` seconds."""
        for start in range(0, len(entries), PAGE_SIZE):
            page = entries[start : start + PAGE_SIZE]
            await self._run(
                "append",
                partial(self._store.append, log, page, keep=keep),
                max_seconds=BACKGROUND_TIMEOUT_SECONDS,
            )

    async def read(self, log: str, position: str) -> LogPage:
        """Return the page of a log's entries that follows `position`."""
        return await self._run(
            "read", partial(self._store.read, log, position), max_seconds=BACKGROUND_TIMEOUT_SECONDS
        )

    async def close(self) -> None:
        """Cancel the requests in flight and close the store."""
        await self._tasks.close()
        await self._store.close()

    async def _run(
        self,
        operation: StoreOperation,
        send: Callable[[], Coroutine[Any, Any, T]],
        *,
        max_seconds: float | None = None,  # to wait; the request itself continues
    ) -> T:
        if not self._store.is_shared:  # in this process's memory, which never blocks
            self._duration.labels(operation=operation, outcome="ok").observe(0)
            return await send()
        if self._is_down and operation != "probe":
            raise StateError("the shared state is down")
        started, outcome = self._clock.monotonic(), "abandoned"
        # A separate task, so that opening a connection can complete after the play stops waiting.
        request = self._tasks.spawn(send())
        try:
            result, outcome = await _await_result(request, max_seconds or self._timeout), "ok"
        except StateError as error:
            outcome = "error" if request.done() else "timeout"
            if operation != "probe":
                self._start_probing()
            raise StateError(error.detail) from None
        except Exception as error:  # a bug; the play treats it like a failed store
            outcome = "error"
            self._telemetry.log.exception("internal", task="state")
            raise StateError(f"the shared state failed ({type(error).__name__})") from None
        finally:
            self._duration.labels(operation=operation, outcome=outcome).observe(
                self._clock.monotonic() - started
            )
        return result

    def _start_probing(self) -> None:
        if self._probe_task is None or self._probe_task.done():
            self._probe_task = self._tasks.spawn(self._probe_until_healthy())

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


async def _await_result(request: asyncio.Task[T], seconds: float) -> T:
    """Return the result of a request. Raises StateError on timeout; the request continues."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    await asyncio.wait({request}, timeout=seconds)
    if not request.done() and (overslept := loop.time() - deadline) > 0:
        # This process was busy and could not read the response: wait that much longer.
        await asyncio.wait({request}, timeout=min(overslept, seconds))
    if not request.done():
        raise StateError("the shared state did not respond in time")
    return request.result()
