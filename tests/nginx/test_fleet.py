"""Many instances are one service: whichever is asked, whichever dies, whatever becomes of Redis."""

import asyncio
import signal
from collections import Counter

import pytest
from fleet import PLAYERS, a_fleet
from support import eventually

RACES = 1000
HERE, ELSEWHERE = "127.0.0.5", "127.0.1.5"


@pytest.fixture
async def fleet(component, tmp_path, sandbox, server):
    # Patient with a machine that is busy with all of it; what a play waits for is another test's.
    patient = {"PLAYGATE_STATE__TIMEOUT": "1"}
    async with a_fleet(component("nginx"), tmp_path, sandbox, server, **patient) as running:
        yield running


async def test_of_two_networks_that_race_for_a_token_exactly_one_wins(fleet):
    async def race() -> tuple[str | int, ...]:
        token = fleet.mint()
        runners = (fleet.play(token, HERE), fleet.play(token, ELSEWHERE))
        return tuple(sorted(await asyncio.gather(*runners), key=str))

    outcomes: Counter[tuple[str | int, ...]] = Counter()
    for _ in range(RACES // 20):
        outcomes.update(await asyncio.gather(*(race() for _ in range(20))))
    assert outcomes == {(302, "token-used-elsewhere"): RACES}


async def test_a_revocation_holds_on_every_instance_within_the_staleness(fleet):
    for n in range(3):
        token = fleet.mint(subject=f"viewer-{n}")
        for edge in fleet.edges:
            assert await fleet.play_on(edge, token) == 302
        asked = fleet.edges[n]
        await fleet.ask(asked, "/revocations", method="POST", json={"sub": f"viewer-{n}"})
        assert await fleet.play_on(asked, token) == "token-revoked", "at once where it was asked"
        for edge in fleet.edges:
            await eventually(lambda edge=edge, token=token: is_revoked(fleet, edge, token))


async def is_revoked(fleet, edge, token):
    return await fleet.play_on(edge, token) == "token-revoked"


async def test_a_rolling_restart_under_load_shows_no_player_an_error(fleet):
    """One right after the other, and nginx, whose sockets come and go, writes no token down."""
    async with fleet.under_load() as load:
        for edge in fleet.edges:
            await load.goes_on()
            await edge.stop()
            await load.goes_on()
            await edge.start()
            await eventually(lambda edge=edge: fleet.is_ready(edge))
        await load.goes_on()
    assert set(load.outcomes) == {302}
    assert fleet.sandbox.controls.calls["token"] == 1, "the others' access token is theirs, too"
    for edge in fleet.edges:
        await edge.stop()
    assert await fleet.play() == "edge-unreachable"
    assert "token" not in fleet.nginx.error_log


async def test_a_killed_instance_takes_nothing_but_its_own_plays_along(fleet):
    async with fleet.under_load() as load:
        await load.goes_on()
        before = load.taken()
        await fleet.edges[0].kill()
        await load.goes_on(300)
        killed = load.taken()
        await fleet.edges[0].start()
        await eventually(lambda: fleet.is_ready(fleet.edges[0]))
        await load.goes_on(300)
    assert set(before) == set(load.outcomes) == {302}
    assert killed.total() - killed[302] <= PLAYERS, "no more than were under way"


async def test_a_hung_instance_is_left_out_and_its_plays_go_elsewhere(fleet):
    hung = fleet.edges[0]
    async with fleet.under_load() as load:
        await load.goes_on()
        hung.process.process.send_signal(signal.SIGSTOP)
        try:
            await load.goes_on(300)
        finally:
            hung.process.process.send_signal(signal.SIGCONT)
        await load.goes_on()
    assert set(load.outcomes) == {302}


async def test_what_redis_goes_through_is_seen_as_promised(fleet):
    """Stopped, hung, emptied and restarted in mid-load: new tokens wait, known ones play."""
    known = fleet.mint()
    for edge in fleet.edges:
        assert await fleet.play_on(edge, known) == 302

    async def known_one_plays() -> None:
        for edge in fleet.edges:
            assert await fleet.play_on(edge, known) == 302
            assert await fleet.play_on(edge, known, ELSEWHERE) == "token-used-elsewhere"

    async with fleet.under_load() as load:
        await load.goes_on()
        assert set(load.taken()) == {302}
        for fail, mend in (
            (fleet.server.stop, fleet.server.start),
            (async_(fleet.server.hang), async_(fleet.server.resume)),
        ):
            await fail()
            assert set(await load.turns()) <= {302, "state-unavailable"}
            await load.goes_on(300)
            await known_one_plays()
            failing = load.taken()
            assert set(failing) == {"state-unavailable"}
            await mend()
            for edge in fleet.edges:
                await eventually(lambda edge=edge: has_its_state(fleet, edge))
            await load.turns()
            await load.goes_on()
            assert set(load.taken()) == {302}
        await fleet.ask(fleet.edges[0], "/revocations", method="POST", json={"sub": "viewer-7"})
        for edge in fleet.edges:
            await eventually(lambda edge=edge: knows(fleet, edge, "viewer-7"))
        await fleet.server.empty()
        await load.goes_on(300)
        assert set(load.taken()) == {302}
        await known_one_plays()
        await eventually(lambda: is_put_back(fleet))
    codes = [await fleet.ask(edge, "/metrics") for edge in fleet.edges]
    assert not any('code="500"' in text for text in codes)


def async_(function):
    async def call() -> None:
        function()

    return call


async def has_its_state(fleet, edge):
    return "playgate_state_healthy 1.0" in await fleet.ask(edge, "/metrics")


async def knows(fleet, edge, subject):
    told = await fleet.ask(edge, "/revocations")
    return subject in [it.get("sub") for it in told["revocations"]]


async def is_put_back(fleet):
    async with fleet.server.client() as client:
        return await client.xlen("playgate:revocations") > 0
