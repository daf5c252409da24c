"""The access token is there before anybody has to wait for it. The clock stands still here."""

from __future__ import annotations

import asyncio

from support import an_edge, eventually

from proxy.sandbox.controls import Fault


async def settled(sandbox, tokens: int) -> None:
    await eventually(
        lambda: sandbox.controls.calls["token"] == tokens and not sandbox.controls.waiting["token"]
    )
    await asyncio.sleep(0.05)


async def test_it_is_renewed_ahead_of_its_expiry_while_plays_use_the_old_one(sandbox, clock):
    async with an_edge(sandbox, clock=clock) as edge:
        sandbox.now = clock.now
        await edge.play()
        await settled(sandbox, 1)
        for _ in range(600):  # ten hours, minus two: nobody plays, a minute at a time
            clock.advance(60)
            if sandbox.controls.calls["token"] == 2:
                break
            await asyncio.sleep(0)
            await asyncio.sleep(0.001)
        assert 36_000 * 0.79 < clock.ticks - 1000 < 36_000 * 0.85

        sandbox.controls.hold("token")
        clock.advance(36_000 * 0.81)
        await eventually(lambda: sandbox.controls.waiting["token"] == 1)
        # The renewal hangs, and the player does not.
        token = edge.mint()
        assert (await edge.get(edge.play_url(token=token))).status == 302
        sandbox.controls.release("token")


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
        sandbox.controls.set_fault("token", Fault(status=400, body='{"error":"invalid_client"}'))
        waits = []
        clock.advance(36_000 * 0.81)
        for expected in range(2, 7):
            await settled(sandbox, expected)
            waited = 0
            while sandbox.controls.calls["token"] == expected:
                clock.advance(1)
                waited += 1
                await asyncio.sleep(0.02)
            waits.append(waited)

        assert waits == sorted(waits) and waits[0] <= 2 and waits[-1] >= 20
        assert (await edge.play()).status == 302


async def test_leaving_while_a_fetch_hangs_leaves_nothing_behind(sandbox):
    sandbox.controls.hold("token")
    async with an_edge(sandbox):
        await eventually(lambda: sandbox.controls.waiting["token"] == 1)

    assert [task for task in asyncio.all_tasks() if "keep_fresh" in repr(task)] == []
    sandbox.controls.release("token")
