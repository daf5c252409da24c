"""The access token is refreshed before plays have to wait for it. The test clock stands still."""

import asyncio

import pytest
from support import run_test_edge, wait_until

from proxy.edge.access_token_cache import MAX_SLEEP_SECONDS
from proxy.sandbox.controls import Fault


async def test_an_access_token_is_refreshed_before_it_expires_while_plays_use_the_old_one(
    sandbox, clock
):
    sandbox.now = clock.now
    async with run_test_edge(sandbox, clock=clock) as edge:
        await edge.play()
        sandbox.controls.hold("token")
        started = clock.ticks
        while sandbox.controls.waiting["token"] == 0:  # hours pass without a play
            clock.advance(await clock.next_sleeper())
            await wait_until(lambda: clock.has_sleepers or sandbox.controls.waiting["token"])

        assert clock.ticks - started == pytest.approx(36_000 * 0.8, abs=61)
        # The refresh hangs in the token endpoint, and plays do not.
        assert (await edge.get(edge.play_url(token=edge.mint()))).status == 302
        sandbox.controls.release("token")
        await clock.next_sleeper()
        assert sandbox.controls.calls["token"] == 2


async def test_an_access_token_is_not_used_in_its_last_second(sandbox, clock):
    sandbox.now = clock.now
    async with run_test_edge(sandbox, clock=clock) as edge:
        await edge.play()
        sandbox.controls.set_fault("token", Fault(status=500))
        clock.advance(36_000 - 2)
        assert (await edge.play()).status == 302
        clock.advance(1.5)
        assert (await edge.play()).reason == "platform-unreachable"


async def test_a_failed_refresh_is_retried_with_growing_delays(sandbox, clock):
    sandbox.now = clock.now
    async with run_test_edge(sandbox, clock=clock) as edge:
        await edge.play()
        await clock.next_sleeper()
        sandbox.controls.set_fault("token", Fault(status=400, body='{"error":"invalid_client"}'))
        clock.advance(36_000 * 0.81)
        waits = []
        for _ in range(7):
            waits.append(await clock.next_sleeper())
            clock.advance(waits[-1])

        assert waits == [1, 2, 5, 10, 30, 30, 30]
        await clock.next_sleeper()  # the eighth attempt has failed, too
        assert (await edge.play()).status == 302
        sandbox.controls.set_fault("token", None)
        await clock.next_sleeper()
        clock.advance(30)
        assert await clock.next_sleeper() == MAX_SLEEP_SECONDS


@pytest.mark.parametrize("seconds_off", [-3600, 3600])
async def test_setting_the_system_clock_does_not_change_how_long_a_token_is_used(
    sandbox, clock, seconds_off
):
    sandbox.now = clock.monotonic
    async with run_test_edge(sandbox, clock=clock) as edge:
        clock.time += seconds_off
        await edge.play()
        clock.time -= seconds_off
        await clock.next_sleeper()
        sandbox.controls.set_fault("token", Fault(status=500))
        clock.advance(36_000 - 2)
        assert (await edge.play()).status == 302
        clock.advance(1.5)
        assert (await edge.play()).reason == "platform-unreachable"


async def test_a_refused_token_is_replaced_after_the_system_clock_was_set_back(sandbox, clock):
    sandbox.now = clock.monotonic
    async with run_test_edge(sandbox, clock=clock) as edge:
        clock.time += 3600
        await edge.play()
        sandbox.accounts.access_tokens.clear()
        assert (await edge.play()).status == 302  # with the token that replaces the refused one
        clock.time -= 3600
        clock.advance(6)
        sandbox.accounts.access_tokens.clear()
        assert (await edge.play()).status == 302


async def test_stopping_during_a_slow_fetch_leaves_no_task_behind(sandbox):
    before = asyncio.all_tasks()
    sandbox.controls.hold("token")
    async with run_test_edge(sandbox):
        await wait_until(lambda: sandbox.controls.waiting["token"] == 1)
        assert len(asyncio.all_tasks() - before) > 2
    sandbox.controls.release("token")

    remaining = asyncio.all_tasks() - before
    assert not [
        task for task in remaining if "proxy/edge" in repr(task) or "keep_fresh" in repr(task)
    ]
