"""Rate limits, concurrency limits, and the response to plays above them."""

import asyncio
from collections import Counter

import pytest
from support import build_play_request, run_test_edge, wait_until

from proxy.adapters.concurrency import ConcurrencyLimit
from proxy.domain.rates import RateCounters, parse_rates
from proxy.domain.reasons import Refusal
from proxy.domain.tokens.claims import read_claims
from proxy.edge.admission import FirstUse, RateLimits
from proxy.settings.schema import LimitsConfig

HERE, NEIGHBOUR, ELSEWHERE = "127.0.0.5", "127.0.0.77", "127.0.1.5"


async def try_play(edge, video="x8demo1", source=HERE, **claims):
    return await edge.try_play(video, edge.mint("*", **claims), source=source)


@pytest.fixture
def run_limited_edge(sandbox, clock):
    sandbox.now = clock.now
    return lambda **limits: run_test_edge(sandbox, clock=clock, limits=limits)


async def test_plays_are_limited_per_network(run_limited_edge):
    async with run_limited_edge(network="3/minute") as edge:
        assert [await try_play(edge, source=at) for at in (HERE, NEIGHBOUR, HERE)] == [302] * 3
        assert await try_play(edge, source=NEIGHBOUR) == "rate-limited"
        assert await try_play(edge, source=ELSEWHERE) == 302
        assert edge.lines()[-2]["detail"] == "limits.network (3 per minute) is exceeded"


async def test_plays_are_limited_per_subject_and_not_without_a_subject(run_limited_edge):
    async with run_limited_edge(subject="1/minute") as edge:
        assert await try_play(edge, subject="a") == 302
        assert await try_play(edge, subject="a", source=ELSEWHERE) == "rate-limited"
        assert await try_play(edge, subject="b") == 302
        assert [await try_play(edge) for _ in range(3)] == [302] * 3


async def test_several_rates_apply_at_once(run_limited_edge, clock):
    async with run_limited_edge(network="2/second; 3/minute") as edge:
        assert [await try_play(edge) for _ in range(3)] == [302, 302, "rate-limited"]
        clock.advance(2)
        assert [await try_play(edge) for _ in range(2)] == [302, "rate-limited"]
        assert edge.lines()[-1]["detail"] == "limits.network (3 per minute) is exceeded"


async def test_a_rate_limited_response_says_when_to_retry(run_limited_edge, clock):
    async with run_limited_edge(network="60/minute") as edge:
        for _ in range(60):
            assert await try_play(edge) == 302
        url = edge.play_url()
        response = await edge.get(url, source=HERE)
        assert (response.status, response.reason) == (503, "rate-limited")
        assert 1 <= int(response.headers["Retry-After"]) <= 60
        clock.advance(120)
        assert await try_play(edge) == 302


async def test_stream_urls_respond_429_to_a_rate_limited_request(run_limited_edge):
    async with run_limited_edge(network="1/minute") as edge:
        assert await try_play(edge) == 302
        url = (
            f"{edge.player}/stream-urls?video_id=x8demo1&formats=stream_hls_url&token={edge.mint()}"
        )
        response = await edge.get(url, source=HERE)
        assert (response.status, response.reason) == (429, "rate-limited")
        assert "Retry-After" in response.headers
        plays = await edge.metric("playgate_plays_total")
        assert plays == {'outcome="redirected"': 1, 'outcome="refused"': 1}


@pytest.mark.parametrize("first_use", [False, True])
async def test_simultaneous_plays_are_counted_one_by_one(sandbox, first_use):
    limits = {"network": "1/minute"}
    async with run_test_edge(
        sandbox, limits=limits, tokens={"bind_on_first_use": first_use}
    ) as edge:
        outcomes = Counter(await asyncio.gather(*(try_play(edge) for _ in range(60))))
        assert outcomes == {302: 1, "rate-limited": 59}


async def test_simultaneous_plays_are_counted_while_the_shared_state_is_slow(sandbox, server):
    """Every play waits for Redis while others arrive; the limit must still hold."""
    tables = {"state": {"url": server.url, "timeout": 5}, "tokens": {"bind_on_first_use": True}}
    async with run_test_edge(sandbox, limits={"network": "3/minute"}, **tables) as edge:
        outcomes = Counter(await asyncio.gather(*(try_play(edge) for _ in range(60))))
        assert outcomes == {302: 3, "rate-limited": 57}


async def test_plays_that_fail_upstream_count_towards_the_limit(run_limited_edge, sandbox):
    """Otherwise a token for all videos could probe video IDs without limit."""
    async with run_limited_edge(network="3/minute") as edge:
        outcomes = [await try_play(edge, f"x8none{n}") for n in range(5)]
        assert outcomes == ["video-not-found"] * 3 + ["rate-limited"] * 2


async def test_a_released_play_is_subtracted_from_the_window_that_counted_it(clock):
    """A play that is refused in the next window must not free a place there."""
    clock.ticks = 60 * 20 - 1.0
    limits = RateLimits(LimitsConfig(network="10/minute"), RateCounters(), clock)
    play, claims = build_play_request(), read_claims({"video": "*", "iat": 0, "exp": 1})

    def reserve() -> object:
        try:
            return limits.reserve(play, claims)
        except Refusal:
            return None

    reserved = [reserve() for _ in range(10)]
    assert None not in reserved and reserve() is None
    clock.advance(1)  # the previous window still counts in full
    assert reserve() is None
    for n, reservation in enumerate(reserved, start=1):
        limits.release(reservation)
        assert reserve() is not None
        assert reserve() is None, (
            f"{n} plays were released, so {n} more are allowed, and no further play"
        )
    clock.advance(600)
    limits.release(reserved[0])  # its window ended long ago
    assert [reserve() is not None for _ in range(11)] == [True] * 10 + [False]


async def test_details_are_cached_and_counted_separately_from_plays(sandbox, clock):
    sandbox.now = clock.now
    tables = {"limits": {"network": "2/minute"}, "web": {"player_page": True}}
    async with run_test_edge(sandbox, clock=clock, **tables) as edge:

        async def get_details(video):
            token = {"Authorization": f"Bearer {edge.mint('*')}"}
            url = f"{edge.player}/watch/{video}/details"
            return await edge.get_outcome(url, headers=token, source=HERE)

        before = sandbox.controls.calls["video"]
        assert [await get_details("x8demo1") for _ in range(2)] == [200, 200]
        assert sandbox.controls.calls["video"] == before + 1
        assert await get_details("x8demo1") == "rate-limited"
        assert [await try_play(edge) for _ in range(3)] == [302, 302, "rate-limited"]
        clock.advance(180)
        assert [await get_details(f"x8none{n}") for n in range(3)] == [
            "video-not-found", "video-not-found", "rate-limited"
        ]  # fmt: skip


async def test_details_requests_do_not_fill_the_queue_of_plays(sandbox):
    tables = {"web": {"player_page": True}, "limits": {"concurrency": 2}}
    async with run_test_edge(sandbox, **tables) as edge:
        await edge.play()
        sandbox.controls.hold("video")
        token = {"Authorization": f"Bearer {edge.mint('*')}"}
        details = [
            asyncio.create_task(edge.get(f"{edge.player}/watch/x8none{n}/details", headers=token))
            for n in range(100)
        ]
        await wait_until(lambda: sandbox.controls.waiting["video"] == 4)
        playing = asyncio.create_task(edge.play())
        await wait_until(lambda: sandbox.controls.waiting["video"] == 5)
        sandbox.controls.release("video")
        assert (await playing).status == 302
        reasons = Counter(response.reason for response in await asyncio.gather(*details))
        assert reasons == {"video-not-found": 36, "overloaded": 64}


async def test_refused_plays_do_not_count_towards_a_limit(run_limited_edge):
    async with run_limited_edge(network="1/minute", subject="2/minute") as edge:
        for _ in range(3):
            bad = await edge.get(edge.play_url(token="a.b.c"), source=HERE)
            assert bad.reason == "token-malformed"
        assert await try_play(edge, subject="a") == 302
        for _ in range(9):
            assert await try_play(edge, subject="a") == "rate-limited"
        where = {"source": ELSEWHERE, "subject": "a"}
        assert await try_play(edge, **where) == 302, (
            "plays refused for the network must not count for the subject"
        )


async def test_a_rate_limited_play_does_not_bind_its_token(sandbox):
    async with run_test_edge(
        sandbox, limits={"network": "1/minute"}, tokens={"bind_on_first_use": True}
    ) as edge:
        assert await try_play(edge) == 302
        url = edge.play_url()
        assert (await edge.get(url, source=HERE)).reason == "rate-limited"
        assert (await edge.get(url, source=ELSEWHERE)).status == 302


async def test_a_leaked_link_does_not_use_up_the_limit_of_its_owner(sandbox):
    async with run_test_edge(
        sandbox, limits={"subject": "3/minute"}, tokens={"bind_on_first_use": True}
    ) as edge:
        url = edge.play_url(token=edge.mint(subject="owner"))
        assert (await edge.get(url, source=HERE)).status == 302
        for _ in range(5):
            assert (await edge.get(url, source=ELSEWHERE)).reason == "token-used-elsewhere"
        assert await try_play(edge, subject="owner") == 302
        line = edge.lines()[-2]
        assert (line["reason"], line["subject"]) == ("token-used-elsewhere", "owner")
        assert line["jti"]


async def test_segments_do_not_count_as_plays(sandbox, clock):
    sandbox.now = clock.now
    async with run_test_edge(
        sandbox,
        clock=clock,
        limits={"network": "1/minute"},
        auth={"protected_paths": ["/hls/(?P<video>[^/]+)/.+"]},
        viewer={"trusted_proxies": ["127.0.0.1"]},
    ) as edge:
        for n in range(5):
            headers = {
                "X-Original-URI": f"/hls/x8demo1/{n}.ts?token={edge.mint()}",
                "X-Original-Path": f"/hls/x8demo1/{n}.ts",
                "X-Original-Method": "GET",
                "X-Forwarded-For": "127.0.0.9",
            }
            assert (await edge.get(f"{edge.operator}/auth", headers=headers)).status == 204


def test_counted_names_are_bounded():
    counters, (rate,) = RateCounters(max_names=100), parse_rates("1/minute")
    for n in range(1000):
        assert not counters.compute_wait(n, rate, 0)
        counters.add(n, rate, 0)
    assert counters.compute_wait(999, rate, 0)
    assert not counters.compute_wait(0, rate, 0), "the oldest name must be dropped first"


def test_the_same_rate_twice_is_one_rate():
    assert len(parse_rates("60/minute; 60 per minute; 60 per 1 minutes; 60/hour")) == 2


def test_a_window_slides():
    """There is no burst of twice the rate at the boundary of two windows."""
    counters, (rate,) = RateCounters(), parse_rates("10/minute")

    def plays(now: float, count: int) -> list[bool]:
        """Return which of `count` plays are admitted."""
        outcomes = []
        for _ in range(count):
            outcomes.append(not counters.compute_wait("x", rate, now))
            if outcomes[-1]:
                counters.add("x", rate, now)
        return outcomes

    assert plays(650, 11) == [True] * 10 + [False]
    # 5 s into the next window, 55/60 of the previous one still count
    assert plays(665, 3) == [True, False, False]
    assert sum(plays(695, 20)) == 5


@pytest.mark.parametrize("at", [30, 59, 61, 90, 119])
def test_one_more_play_is_allowed_after_the_computed_wait(at):
    counters, (rate,) = RateCounters(), parse_rates("10/minute")
    for _ in range(10):
        counters.add("x", rate, 30)
    while not counters.compute_wait("x", rate, at):
        counters.add("x", rate, at)
    wait = counters.compute_wait("x", rate, at)
    assert counters.compute_wait("x", rate, at + wait - 1.1) or wait == 1
    assert not counters.compute_wait("x", rate, at + wait + 0.001)


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("60/minute", [(60, 60)]),
        ("10/second; 300/hour", [(10, 1), (300, 3600)]),
        ("3 per 5 minutes", [(3, 300)]),
        ("1/day", [(1, 86400)]),
        ("", []),
    ],
)
def test_rates_are_parsed(text, rates):
    assert [(rate.amount, rate.seconds) for rate in parse_rates(text)] == rates


@pytest.mark.parametrize(
    "text", ["many", "0/minute", "1/0 minutes", "1/fortnight", "1.5/minute", "-1/minute", "1/minute;", " ", "1//minute"]
)  # fmt: skip
def test_a_malformed_rate_is_refused(text):
    with pytest.raises(ValueError, match="must be a rate such as"):
        parse_rates(text)


async def test_an_overload_refuses_the_newest_and_serves_the_queue_in_order():
    limit, order, go = ConcurrencyLimit(2, queue=3, max_wait=20), [], asyncio.Event()

    async def work(n: int) -> str:
        try:
            async with limit:
                order.append(n)
                await go.wait()
        except Refusal as refusal:
            return str(refusal.reason)
        return "done"

    tasks = [asyncio.create_task(work(n)) for n in range(8)]
    await asyncio.sleep(0)
    await wait_until(lambda: limit.waiting == 3)
    assert (order, limit.inside) == ([0, 1], 2)
    assert [task.done() for task in tasks] == [False] * 5 + [True] * 3
    tasks[3].cancel()  # disconnected, which frees its place in the queue
    await asyncio.sleep(0)
    late = asyncio.create_task(work(8))
    go.set()
    results = await asyncio.gather(*tasks, late, return_exceptions=True)
    assert order == [0, 1, 2, 4, 8]
    assert results[5:8] == ["overloaded"] * 3
    assert (limit.inside, limit.waiting) == (0, 0)


async def test_a_queued_call_is_refused_after_the_maximum_wait():
    limit = ConcurrencyLimit(1, queue=5, max_wait=0.01)
    async with limit:
        with pytest.raises(Refusal, match="overloaded: waited"):
            async with limit:
                pass
    async with limit:
        assert limit.inside == 1


async def test_concurrent_calls_to_dailymotion_are_limited_and_excess_plays_are_overloaded(sandbox):
    """With a slow API, the metrics show active and waiting calls."""
    async with run_test_edge(sandbox, limits={"concurrency": 2}) as edge:
        await edge.play()
        sandbox.controls.hold("video")
        sources = [f"127.0.{n}.5" for n in range(1, 21)]
        plays = [asyncio.create_task(edge.get(edge.play_url(), source=at)) for at in sources]
        await wait_until(lambda: sum(task.done() for task in plays) == 14)
        await wait_until(lambda: sandbox.controls.waiting["video"] == 2)
        calls = await edge.metric("playgate_upstream_calls")
        assert calls['operation="video",state="active"'] == 2
        assert calls['operation="video",state="waiting"'] == 4
        sandbox.controls.release("video")
        responses = await asyncio.gather(*plays)
        outcomes = Counter(response.outcome for response in responses)
        assert outcomes == {"overloaded": 14, 302: 6}
        refused = next(response for response in responses if response.reason)
        assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
        status = (await edge.get(f"{edge.operator}/readyz")).json
        assert status["platform"] == {}, "the edge is overloaded, not Dailymotion"


async def test_relayed_playlists_have_a_separate_queue(sandbox):
    async with run_test_edge(
        sandbox, delivery={"mode": "relay"}, limits={"concurrency": 1}
    ) as edge:
        sandbox.controls.hold("playlist")
        plays = []
        for network in (1, 2, 3):
            plays.append(asyncio.create_task(edge.play(source=f"127.0.{network}.5")))
            await wait_until(lambda: sandbox.controls.waiting["playlist"] == 1)
        counts = {'operation="playlist",state="waiting"': 2}

        async def all_wait() -> bool:
            calls = await edge.metric("playgate_upstream_calls")
            return counts.items() <= calls.items()

        await wait_until(all_wait)
        assert (await edge.play(source="127.0.4.5")).reason == "overloaded"
        sandbox.controls.release("playlist")
        assert [response.status for response in await asyncio.gather(*plays)] == [200] * 3


async def test_a_viewer_who_disconnects_before_admission_is_not_counted(sandbox, monkeypatch):
    """Otherwise a leaked link would use up its owner's limit although it is bound to the owner."""
    cancelled = asyncio.Queue[None]()

    async def hang(*_: object, **__: object) -> bool:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.put_nowait(None)
        return True

    limits = {"subject": "1/minute"}
    async with run_test_edge(sandbox, limits=limits, tokens={"bind_on_first_use": True}) as edge:
        with monkeypatch.context() as patch:
            patch.setattr(FirstUse, "bind", hang)
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(try_play(edge, subject="a"), 0.2)
                await asyncio.wait_for(cancelled.get(), 60)
        assert await try_play(edge, subject="a") == 302
