"""The metrics of plays, API calls, the access token and the clock."""

import asyncio
from math import isnan

import pytest
from support import StillClock, run_test_edge, run_test_sandbox, wait_until

from proxy.adapters.clock import Clock
from proxy.sandbox.controls import Fault

DURATION = "playgate_play_duration_seconds"
PART = "playgate_play_part_duration_seconds"
DELAY_SECONDS = 0.3


async def read_value(edge, name: str, labels: str = "") -> float:
    return (await edge.metric(name)).get(labels, 0.0)


async def test_the_play_duration_is_split_into_an_upstream_part_and_an_edge_part(edge, sandbox):
    sandbox.controls.set_fault("video", Fault(delay=DELAY_SECONDS))
    assert (await edge.play()).status == 302

    whole = await read_value(edge, f"{DURATION}_sum")
    upstream = await read_value(edge, f"{PART}_sum", 'part="upstream"')
    edge_part = await read_value(edge, f"{PART}_sum", 'part="edge"')
    assert whole > upstream >= DELAY_SECONDS
    assert edge_part == pytest.approx(whole - upstream)


async def test_waiting_for_a_playlist_check_counts_as_upstream_time(start_edge, sandbox):
    edge = await start_edge(delivery={"mode": "validate"})
    sandbox.controls.set_fault("playlist", Fault(delay=DELAY_SECONDS))
    assert (await edge.play()).status == 302

    assert await read_value(edge, f"{PART}_sum", 'part="upstream"') >= DELAY_SECONDS
    assert await read_value(edge, f"{PART}_sum", 'part="edge"') < DELAY_SECONDS


@pytest.mark.parametrize("video", ["x8null", "x8error"])
async def test_failed_plays_are_not_in_the_play_duration(edge, video):
    await edge.play(video)
    await edge.get(edge.play_url(), method="OPTIONS")

    assert await read_value(edge, f"{DURATION}_count") == 0
    assert await read_value(edge, f"{PART}_count", 'part="edge"') == 0


async def test_shared_api_calls_are_counted_as_coalesced(edge, sandbox):
    await edge.play()
    sandbox.controls.hold("video")
    plays = [asyncio.create_task(edge.play()) for _ in range(3)]

    async def have_all_joined() -> bool:
        return await read_value(edge, "playgate_stream_lookups_total", 'coalesced="true"') == 2

    await wait_until(have_all_joined)
    sandbox.controls.release("video")
    assert [response.status for response in await asyncio.gather(*plays)] == [302] * 3
    assert await edge.metric("playgate_stream_lookups_total") == {
        'coalesced="false"': 2,
        'coalesced="true"': 2,
    }


async def test_a_429_from_dailymotion_is_counted_as_throttled(edge, sandbox):
    sandbox.controls.set_fault("video", Fault(status=429))
    assert (await edge.play()).reason == "platform-throttled"

    calls = await edge.metric("playgate_upstream_request_duration_seconds_count")
    assert calls['operation="video",outcome="throttled"'] >= 1
    assert 'operation="video",outcome="refused"' not in calls


async def test_the_expiry_and_refresh_times_of_the_access_token_are_exported(clock, start_edge):
    edge = await start_edge(clock=clock)

    async def is_exported() -> bool:
        return await read_value(edge, "playgate_access_token_expiry_timestamp_seconds") > 0

    await wait_until(is_exported)
    expiry = await read_value(edge, "playgate_access_token_expiry_timestamp_seconds")
    refresh = await read_value(edge, "playgate_access_token_refresh_timestamp_seconds")
    assert (expiry, refresh) == (clock.now() + 36_000, clock.now() + 28_800)


class SkewedClock(Clock):
    """A clock that runs at the right speed but is `ahead` seconds ahead."""

    def __init__(self, ahead: float) -> None:
        self.ahead = ahead

    def now(self) -> float:
        return super().now() + self.ahead


@pytest.mark.parametrize("ahead", [30.0, -30.0, 0.0])
async def test_the_clock_skew_is_measured_against_dailymotions_date_header(start_edge, ahead):
    edge = await start_edge(clock=SkewedClock(ahead))
    await edge.play()

    # A Date header has whole seconds, and the metric leaves out the uncertain part of the skew.
    assert await read_value(edge, "playgate_clock_skew_seconds") == pytest.approx(ahead, abs=1.5)


@pytest.mark.parametrize(
    "headers", [{"Age": "100"}, {"Date": "yesterday"}], ids=["of a cache", "no date"]
)
async def test_a_response_without_a_usable_date_does_not_set_the_clock_skew(headers):
    async with run_test_sandbox() as sandbox:
        fault_headers = (("Content-Type", "application/json"), *headers.items())
        sandbox.controls.set_fault("token", Fault(status=400, body="{}", headers=fault_headers))
        async with run_test_edge(sandbox, clock=StillClock(0)) as edge:
            await wait_until(lambda: edge.lines("platform-failing"))
            skew = await read_value(edge, "playgate_clock_skew_seconds")
    assert isnan(skew)


async def test_an_issuer_whose_keys_were_never_fetched_has_timestamp_zero(start_edge):
    """An alert cannot fire on a series that does not exist."""
    issuer = {"issuer": "https://login.example.com", "jwks_url": "http://127.0.0.1:1/keys"}
    edge = await start_edge(tokens={"issuers": [issuer]})

    assert await edge.metric("playgate_issuer_keys_fetched_timestamp_seconds") == {
        'issuer="https://login.example.com"': 0.0
    }
