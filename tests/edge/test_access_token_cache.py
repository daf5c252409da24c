"""The access token is there before anybody has to wait for it. The clock stands still here."""

import asyncio

import pytest
from support import an_edge, eventually

from proxy.edge.access_token_cache import MAX_SLEEP_SECONDS
from proxy.sandbox.controls import Fault


async def test_it_is_renewed_ahead_of_its_expiry_while_plays_use_the_old_one(sandbox, clock):
    sandbox.now = clock.now
    async with an_edge(sandbox, clock=clock) as edge:
        await edge.play()
        sandbox.controls.hold("token")
        started = clock.ticks
        while sandbox.controls.waiting["token"] == 0:  # nobody plays, and hours go by
            clock.advance(await clock.next_sleeper())
            await eventually(lambda: clock.has_sleepers or sandbox.controls.waiting["token"])

        assert clock.ticks - started == pytest.approx(36_000 * 0.8, abs=61)
        # The renewal hangs in the token endpoint, and a player does not.
        assert (await edge.get(edge.play_url(token=edge.mint()))).status == 302
        sandbox.controls.release("token")
        await clock.next_sleeper()
        assert sandbox.controls.calls["token"] == 2


async def test_the_last_second_of_a_token_is_not_used(sandbox, clock):
    sandbox.now = clock.now
    async with an_edge(sandbox, clock=clock) as edge:
        await edge.play()
        sandbox.controls.set_fault("token", Fault(status=500))
        clock.advance(36_000 - 2)
        assert (await edge.play()).status == 302
        clock.advance(1.5)
        assert (await edge.play()).reason == "platform-unreachable"


async def test_a_failed_renewal_is_tried_again_later_and_later(sandbox, clock):
    sandbox.now = clock.now
    async with an_edge(sandbox, clock=clock) as edge:
        await edge.play()
        await clock.next_sleeper()
        sandbox.controls.set_fault("token", Fault(status=400, body='{"error":"invalid_client"}'))
        clock.advance(36_000 * 0.81)
        waits = []
        for _ in range(7):
            waits.append(await clock.next_sleeper())
            clock.advance(waits[-1])

        assert waits == [1, 2, 5, 10, 30, 30, 30]
        await clock.next_sleeper()  # the eighth has failed as well
        assert (await edge.play()).status == 302
        sandbox.controls.set_fault("token", None)
        await clock.next_sleeper()
        clock.advance(30)
        assert await clock.next_sleeper() == MAX_SLEEP_SECONDS


@pytest.mark.parametrize("seconds_off", [-3600, 3600])
async def test_a_clock_that_is_set_does_not_change_how_long_a_token_is_used(
    sandbox, clock, seconds_off
):
    sandbox.now = clock.monotonic
    async with an_edge(sandbox, clock=clock) as edge:
        clock.time += seconds_off
        await edge.play()
        clock.time -= seconds_off
        await clock.next_sleeper()
        sandbox.controls.set_fault("token", Fault(status=500))
        clock.advance(36_000 - 2)
        assert (await edge.play()).status == 302
        clock.advance(1.5)
        assert (await edge.play()).reason == "platform-unreachable"


async def test_a_clock_that_is_set_back_does_not_keep_a_refused_token(sandbox, clock):
    sandbox.now = clock.monotonic
    async with an_edge(sandbox, clock=clock) as edge:
        clock.time += 3600
        await edge.play()
        sandbox.accounts.access_tokens.clear()
        assert (await edge.play()).status == 302  # with one that replaces the refused one
        clock.time -= 3600
        clock.advance(6)
        sandbox.accounts.access_tokens.clear()
        assert (await edge.play()).status == 302


async def test_leaving_while_a_fetch_hangs_leaves_nothing_behind(sandbox):
    before = asyncio.all_tasks()
    sandbox.controls.hold("token")
    async with an_edge(sandbox):
        await eventually(lambda: sandbox.controls.waiting["token"] == 1)
        assert len(asyncio.all_tasks() - before) > 2
    sandbox.controls.release("token")

    def ours() -> set[asyncio.Task]:
        left = asyncio.all_tasks() - before
        return {task for task in left if "proxy/edge" in repr(task) or "keep_fresh" in repr(task)}

    assert ours() == set()
