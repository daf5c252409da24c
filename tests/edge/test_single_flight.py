"""Concurrent callers share one call, and its result is not cached."""

import asyncio
import gc

import pytest
from support import wait_until

from proxy.adapters.concurrency import SingleFlight


async def test_concurrent_callers_share_a_call_and_a_later_caller_starts_another():
    flights, calls = SingleFlight(), []

    async def call() -> int:
        calls.append(1)
        await asyncio.sleep(0)
        return len(calls)

    assert await asyncio.gather(*(flights.join("k", call) for _ in range(9))) == [1] * 9
    assert await flights.join("k", call) == 2
    assert flights._flights == {}  # noqa: SLF001  # the result must not be cached


async def test_a_failure_is_raised_to_every_caller_and_not_cached():
    flights, calls = SingleFlight(), []

    async def call() -> None:
        calls.append(1)
        raise ValueError(len(calls))

    outcomes = await asyncio.gather(
        *(flights.join("k", call) for _ in range(3)), return_exceptions=True
    )
    assert [str(error) for error in outcomes] == ["1"] * 3
    with pytest.raises(ValueError, match="2"):
        await flights.join("k", call)


async def test_a_cancelled_caller_does_not_cancel_the_call_for_the_others():
    flights, gate = SingleFlight(), asyncio.Event()
    finished = []

    async def call() -> str:
        await gate.wait()
        finished.append(1)
        return "response"

    waiters = [asyncio.create_task(flights.join("k", call)) for _ in range(3)]
    await asyncio.sleep(0)
    waiters[0].cancel()
    waiters[2].cancel()
    await asyncio.sleep(0)
    gate.set()
    assert await waiters[1] == "response"

    gate.clear()
    alone = asyncio.create_task(flights.join("k", call))
    await asyncio.sleep(0)
    alone.cancel()
    gate.set()
    await asyncio.gather(alone, return_exceptions=True)
    await asyncio.sleep(0)
    assert finished == [1, 1]


@pytest.mark.parametrize("rounds", [0, 1, 5])
async def test_a_failure_without_a_waiting_caller_is_not_reported_as_unretrieved(rounds):
    flights, gate, complaints = SingleFlight(), asyncio.Event(), []
    asyncio.get_running_loop().set_exception_handler(
        lambda _loop, context: complaints.append(context)
    )

    async def call() -> None:
        await gate.wait()
        raise ValueError

    alone = asyncio.create_task(flights.join("k", call))
    await asyncio.sleep(0)
    alone.cancel()
    await asyncio.gather(alone, return_exceptions=True)
    for _ in range(rounds):  # of the event loop, before the call fails
        await asyncio.sleep(0)
    gate.set()
    await wait_until(lambda: not flights.is_in_flight("k"))
    del alone  # the traceback of its error references the call
    gc.collect()

    assert complaints == []


async def test_closing_cancels_the_calls_in_flight():
    flights = SingleFlight()
    waiter = asyncio.create_task(flights.join("k", lambda: asyncio.sleep(3600)))
    await asyncio.sleep(0)
    await flights.close()

    with pytest.raises(asyncio.CancelledError):
        await waiter
