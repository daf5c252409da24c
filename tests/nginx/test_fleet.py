"""Three instances behind nginx act as a single service, even if one of them or Redis fails."""

import asyncio
import signal
from collections import Counter

import pytest
from fleet import PLAYERS, run_fleet
from support import wait_until

RACE_COUNT = 1000
VIEWER, VIEWER_IN_OTHER_NETWORK = "127.0.0.5", "127.0.1.5"


@pytest.fixture
async def fleet(component, tmp_path, sandbox, server):
    # A long timeout for a busy machine; another test checks how long a play waits.
    settings = {"PLAYGATE_STATE__TIMEOUT": "1"}
    async with run_fleet(component("nginx"), tmp_path, sandbox, server, **settings) as running:
        yield running


async def test_a_token_raced_by_two_networks_is_bound_to_exactly_one(fleet):
    async def race() -> tuple[str | int, ...]:
        token = fleet.mint()
        plays = (fleet.play(token, VIEWER), fleet.play(token, VIEWER_IN_OTHER_NETWORK))
        return tuple(sorted(await asyncio.gather(*plays), key=str))

    outcomes: Counter[tuple[str | int, ...]] = Counter()
    for _ in range(RACE_COUNT // 20):
        outcomes.update(await asyncio.gather(*(race() for _ in range(20))))
    assert outcomes == {(302, "token-used-elsewhere"): RACE_COUNT}


async def test_a_revocation_reaches_every_instance_within_max_staleness(fleet):
    for n in range(3):
        token = fleet.mint(subject=f"viewer-{n}")
        for edge in fleet.edges:
            assert await fleet.play_on(edge, token) == 302
        revoking_edge = fleet.edges[n]
        await fleet.request(
            revoking_edge, "/revocations", method="POST", json={"sub": f"viewer-{n}"}
        )
        outcome = await fleet.play_on(revoking_edge, token)
        assert outcome == "token-revoked", "the edge that revokes applies it at once"
        for edge in fleet.edges:
            await wait_until(lambda edge=edge, token=token: is_revoked(fleet, edge, token))


async def is_revoked(fleet, edge, token):
    return await fleet.play_on(edge, token) == "token-revoked"


async def test_a_rolling_restart_under_load_causes_no_errors(fleet):
    """Edges restart one after the other; nginx logs no token although its upstream sockets vanish."""
    async with fleet.run_load() as load:
        for edge in fleet.edges:
            await load.wait_for_plays()
            await edge.stop()
            await load.wait_for_plays()
            await edge.start()
            await wait_until(lambda edge=edge: fleet.is_ready(edge))
        await load.wait_for_plays()
    assert set(load.outcomes) == {302}
    assert fleet.sandbox.controls.calls["token"] == 1, "all instances share one access token"
    for edge in fleet.edges:
        await edge.stop()
    assert await fleet.play() == "edge-unreachable"
    assert "token" not in fleet.nginx.error_log


async def test_a_killed_instance_loses_only_its_plays_in_flight(fleet):
    async with fleet.run_load() as load:
        await load.wait_for_plays()
        before = load.take_outcomes()
        await fleet.edges[0].kill()
        await load.wait_for_plays(300)
        killed = load.take_outcomes()
        await fleet.edges[0].start()
        await wait_until(lambda: fleet.is_ready(fleet.edges[0]))
        await load.wait_for_plays(300)
    assert set(before) == set(load.outcomes) == {302}
    assert killed.total() - killed[302] <= PLAYERS, "at most one play in flight per player fails"


async def test_plays_of_a_hung_instance_fail_over_to_the_others(fleet):
    hung = fleet.edges[0]
    async with fleet.run_load() as load:
        await load.wait_for_plays()
        hung.process.process.send_signal(signal.SIGSTOP)
        try:
            await load.wait_for_plays(300)
        finally:
            hung.process.process.send_signal(signal.SIGCONT)
        await load.wait_for_plays()
    assert set(load.outcomes) == {302}


async def test_during_a_redis_outage_bound_tokens_play_and_new_tokens_are_refused(fleet):
    """Redis is stopped, hung and emptied under load: new tokens are refused, bound tokens play."""
    bound_token = fleet.mint()
    for edge in fleet.edges:
        assert await fleet.play_on(edge, bound_token) == 302

    async def check_bound_token() -> None:
        for edge in fleet.edges:
            assert await fleet.play_on(edge, bound_token) == 302
            assert await fleet.play_on(edge, bound_token, VIEWER_IN_OTHER_NETWORK) == (
                "token-used-elsewhere"
            )

    async with fleet.run_load() as load:
        await load.wait_for_plays()
        assert set(load.take_outcomes()) == {302}
        for fail, recover in (
            (fleet.server.stop, fleet.server.start),
            (make_async(fleet.server.hang), make_async(fleet.server.resume)),
        ):
            await fail()
            assert set(await load.wait_for_plays_in_flight()) <= {302, "state-unavailable"}
            await load.wait_for_plays(300)
            await check_bound_token()
            outcomes = load.take_outcomes()
            assert set(outcomes) == {"state-unavailable"}
            await recover()
            for edge in fleet.edges:
                await wait_until(lambda edge=edge: has_healthy_state(fleet, edge))
            await load.wait_for_plays_in_flight()
            await load.wait_for_plays()
            assert set(load.take_outcomes()) == {302}
        await fleet.request(fleet.edges[0], "/revocations", method="POST", json={"sub": "viewer-7"})
        for edge in fleet.edges:
            await wait_until(lambda edge=edge: has_revocation(fleet, edge, "viewer-7"))
        await fleet.server.empty()
        await load.wait_for_plays(300)
        assert set(load.take_outcomes()) == {302}
        await check_bound_token()
        await wait_until(lambda: has_revocations_in_redis(fleet))
    metrics = [await fleet.request(edge, "/metrics") for edge in fleet.edges]
    assert not any('code="500"' in text for text in metrics)


def make_async(function):
    async def call() -> None:
        function()

    return call


async def has_healthy_state(fleet, edge):
    return "playgate_state_healthy 1.0" in await fleet.request(edge, "/metrics")


async def has_revocation(fleet, edge, subject):
    body = await fleet.request(edge, "/revocations")
    return subject in [revocation.get("sub") for revocation in body["revocations"]]


async def has_revocations_in_redis(fleet):
    async with fleet.server.client() as client:
        return await client.xlen("playgate:revocations") > 0
