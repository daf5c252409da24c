"""What the metrics say of plays, calls, the access token and the clock."""

import asyncio
from math import isnan

import pytest
from support import StillClock, a_sandbox, an_edge, eventually

from proxy.adapters.clock import Clock
from proxy.sandbox.controls import Fault

DURATION = "playgate_play_duration_seconds"
PART = "playgate_play_part_duration_seconds"
LATE = 0.3


async def value(edge, name: str, labels: str = "") -> float:
    return (await edge.metric(name)).get(labels, 0.0)


async def test_a_play_s_time_is_split_into_dailymotion_s_part_and_the_edge_s(edge, sandbox):
    sandbox.controls.set_fault("video", Fault(delay=LATE))
    assert (await edge.play()).status == 302

    whole = await value(edge, f"{DURATION}_sum")
    upstream = await value(edge, f"{PART}_sum", 'part="upstream"')
    own = await value(edge, f"{PART}_sum", 'part="edge"')
    assert whole > upstream >= LATE
    assert own == pytest.approx(whole - upstream)


async def test_a_play_that_waits_for_a_check_of_its_manifest_waits_for_dailymotion(
    start_edge, sandbox
):
    edge = await start_edge(delivery={"mode": "validate"})
    sandbox.controls.set_fault("playlist", Fault(delay=LATE))
    assert (await edge.play()).status == 302

    assert await value(edge, f"{PART}_sum", 'part="upstream"') >= LATE
    assert await value(edge, f"{PART}_sum", 'part="edge"') < LATE


@pytest.mark.parametrize("video", ["x8null", "x8error"])
async def test_a_play_that_did_not_work_is_no_part_of_how_long_plays_take(edge, video):
    await edge.play(video)
    await edge.get(edge.play_url(), method="OPTIONS")

    assert await value(edge, f"{DURATION}_count") == 0
    assert await value(edge, f"{PART}_count", 'part="edge"') == 0


async def test_a_call_that_is_shared_is_told_from_one_s_own(edge, sandbox):
    await edge.play()
    sandbox.controls.hold("video")
    plays = [asyncio.create_task(edge.play()) for _ in range(3)]

    async def all_have_asked() -> bool:
        return await value(edge, "playgate_stream_lookups_total", 'coalesced="true"') == 2

    await eventually(all_have_asked)
    sandbox.controls.release("video")
    assert [answer.status for answer in await asyncio.gather(*plays)] == [302] * 3
    assert await edge.metric("playgate_stream_lookups_total") == {
        'coalesced="false"': 2,
        'coalesced="true"': 2,
    }


async def test_being_throttled_is_told_from_being_refused(edge, sandbox):
    sandbox.controls.set_fault("video", Fault(status=429))
    assert (await edge.play()).reason == "platform-throttled"

    calls = await edge.metric("playgate_upstream_request_duration_seconds_count")
    assert calls['operation="video",outcome="throttled"'] >= 1
    assert 'operation="video",outcome="refused"' not in calls


async def test_when_the_access_token_is_renewed(clock, start_edge):
    edge = await start_edge(clock=clock)

    async def is_there() -> bool:
        return await value(edge, "playgate_access_token_expiry_timestamp_seconds") > 0

    await eventually(is_there)
    lapses = await value(edge, "playgate_access_token_expiry_timestamp_seconds")
    renewed = await value(edge, "playgate_access_token_refresh_timestamp_seconds")
    assert (lapses, renewed) == (clock.now() + 36_000, clock.now() + 28_800)


class OffClock(Clock):
    """A clock that goes as fast as any, and is wrong."""

    def __init__(self, ahead: float) -> None:
        self.ahead = ahead

    def now(self) -> float:
        return super().now() + self.ahead


@pytest.mark.parametrize("ahead", [30.0, -30.0, 0.0])
async def test_a_clock_that_is_off_is_measured_by_dailymotion_s(start_edge, ahead):
    edge = await start_edge(clock=OffClock(ahead))
    await edge.play()

    # The Date has whole seconds, and what is not certain does not count.
    assert await value(edge, "playgate_clock_skew_seconds") == pytest.approx(ahead, abs=1.5)


@pytest.mark.parametrize(
    "headers", [{"Age": "100"}, {"Date": "yesterday"}], ids=["of a cache", "no date"]
)
async def test_an_answer_that_cannot_tell_the_time_tells_nothing(headers):
    async with a_sandbox() as sandbox:
        given = (("Content-Type", "application/json"), *headers.items())
        sandbox.controls.set_fault("token", Fault(status=400, body="{}", headers=given))
        async with an_edge(sandbox, clock=StillClock(0)) as edge:
            await eventually(lambda: edge.lines("platform-failing"))
            skew = await value(edge, "playgate_clock_skew_seconds")
    assert isnan(skew)


async def test_an_issuer_whose_keys_were_never_had_can_be_seen(start_edge):
    """A series that is not there cannot be alerted on."""
    issuer = {"issuer": "https://login.example.com", "jwks_url": "http://127.0.0.1:1/keys"}
    edge = await start_edge(tokens={"issuers": [issuer]})

    assert await edge.metric("playgate_issuer_keys_fetched_timestamp_seconds") == {
        'issuer="https://login.example.com"': 0.0
    }
