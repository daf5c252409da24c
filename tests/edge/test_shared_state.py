"""Plays while the shared state fails: the delay, the response, and the recovery.

A real Redis is stopped, suspended and emptied while an edge uses it.
"""

import asyncio
import io
import time
from time import monotonic

import pytest
from support import NOW, build_play_request, build_state, wait_until

from proxy.adapters.clock import Clock
from proxy.adapters.errors import StateError
from proxy.adapters.logs import build_logger
from proxy.adapters.state.store import MemoryStore
from proxy.domain.client_ip import parse_address
from proxy.domain.reasons import Refusal
from proxy.domain.tokens.claims import read_claims
from proxy.edge.admission import FirstUse

HERE, ELSEWHERE = "127.0.0.5", "127.0.1.5"


@pytest.fixture
def run_instance(server, start_edge):
    def start(**state):
        shared = {"url": server.url, "max_staleness": 0.5, **state}
        return start_edge(tokens={"bind_on_first_use": True}, state=shared)

    return start


async def is_healthy(edge):
    return (await edge.metric("playgate_state_healthy"))[""] == 1


async def test_new_tokens_are_refused_and_cached_ones_play_while_redis_is_down(
    server, run_instance
):
    edge = await run_instance()
    known = edge.play_url()
    assert await edge.get_outcome(known) == 302
    await server.stop()

    assert await edge.get_outcome(edge.play_url()) == "state-unavailable"
    assert await edge.get_outcome(known) == 302
    assert await edge.get_outcome(known, source=ELSEWHERE) == "token-used-elsewhere"
    status = (await edge.get(f"{edge.operator}/readyz")).json
    assert (status["status"], status["state"]["reason"]) == ("ready", "state-unavailable")
    assert not await is_healthy(edge)
    assert edge.lines("state-failing")[0]["operation"] == "state"

    await server.start()
    await wait_until(lambda: is_healthy(edge))
    new = edge.play_url()
    assert await edge.get_outcome(new) == 302
    assert await edge.get_outcome(new, source=ELSEWHERE) == "token-used-elsewhere"
    assert edge.lines("state-recovered")[0]["operation"] == "state"
    assert (await edge.get(f"{edge.operator}/readyz")).json["state"] is None


async def test_new_tokens_play_while_redis_is_down_if_first_use_on_failure_is_allow(
    server, run_instance
):
    edge = await run_instance(first_use_on_failure="allow")
    known = edge.play_url()
    assert await edge.get_outcome(known) == 302
    await server.stop()
    new = edge.play_url()
    assert await edge.get_outcome(new) == 302
    assert await edge.get_outcome(new, source=ELSEWHERE) == 302
    assert await edge.get_outcome(known, source=ELSEWHERE) == "token-used-elsewhere"
    await server.start()
    await wait_until(lambda: is_healthy(edge))
    assert await edge.get_outcome(new, source=ELSEWHERE) == 302, (
        "the first use that reaches Redis must bind the token"
    )
    assert await edge.get_outcome(new) == "token-used-elsewhere"


async def test_a_hanging_redis_delays_one_play_until_the_timeout_and_no_later_play(
    server, run_instance
):
    edge = await run_instance(timeout=0.2)
    assert await edge.get_outcome(edge.play_url()) == 302
    server.hang()
    started = monotonic()
    assert await edge.get_outcome(edge.play_url()) == "state-unavailable"
    first_delay = monotonic() - started
    started = monotonic()
    for _ in range(20):
        assert await edge.get_outcome(edge.play_url()) == "state-unavailable"
    later_delay = monotonic() - started
    assert 0.2 <= first_delay < 2
    assert later_delay < 20 * 0.2, "later plays must not wait"

    server.resume()
    await wait_until(lambda: is_healthy(edge))
    assert await edge.get_outcome(edge.play_url()) == 302


async def test_an_edge_keeps_its_cached_bindings_after_redis_was_emptied(server, run_instance):
    one, two = await run_instance(), await run_instance()
    token = one.mint()
    assert await one.try_play(token=token) == 302
    await server.empty()
    assert await one.try_play(token=token, source=ELSEWHERE) == "token-used-elsewhere"
    assert await two.try_play(token=token) == 302


async def test_revocations_stay_in_force_while_redis_is_down(server, run_instance):
    edge = await run_instance()
    token = edge.mint(subject="viewer-7")
    known = edge.play_url(token=token)
    assert await edge.get_outcome(known) == 302
    await edge.edge.apps.services.revocations.revoke("sub", "viewer-7")
    await server.stop()
    assert await edge.get_outcome(known) == "token-revoked"


async def test_plays_are_refused_once_the_revocations_are_out_of_date_under_deny(
    server, run_instance
):
    edge = await run_instance(revocations_on_failure="deny")
    known = edge.play_url()
    assert await edge.get_outcome(known) == 302
    await server.stop()
    await wait_until(lambda: is_refused(edge, known))
    line = edge.lines()[-1]
    assert line["detail"] == "the list of revocations is not up to date"
    assert (await edge.get(f"{edge.operator}/readyz")).json["revocations_age"] > 1
    await server.start()
    await wait_until(lambda: can_play(edge, known))


async def is_refused(edge, url):
    return await edge.get_outcome(url) == "state-unavailable"


async def can_play(edge, url):
    return await edge.get_outcome(url) == 302


async def test_an_edge_starts_while_redis_is_down_and_connects_later(server, run_instance):
    await server.stop()
    edge = await run_instance()
    assert await edge.get_outcome(edge.play_url()) == "state-unavailable"
    assert (await edge.get(f"{edge.operator}/readyz")).json["revocations_age"] is None
    await server.start()
    await wait_until(lambda: is_healthy(edge))
    assert await edge.get_outcome(edge.play_url()) == 302


async def test_plays_without_first_use_binding_work_while_redis_is_down(server, start_edge):
    edge = await start_edge(state={"url": server.url, "max_staleness": 0.5})
    await server.stop()
    for _ in range(5):
        assert await edge.get_outcome(edge.play_url()) == 302
    await wait_until(lambda: edge.lines("state-failing"))


async def test_a_redis_that_refuses_writes_counts_as_down(server, run_instance):
    """A full Redis, or a replica, still serves reads. The log must not be flooded."""
    edge = await run_instance()
    assert await edge.get_outcome(edge.play_url()) == 302
    async with server.client() as client:
        await client.config_set("maxmemory", "1")
        for _ in range(5):
            assert await edge.get_outcome(edge.play_url()) == "state-unavailable"
            await asyncio.sleep(0.1)
        failures = [line for line in edge.lines("state-failing") if line["operation"] == "state"]
        assert len(failures) == 1
        assert "OutOfMemoryError" in failures[0]["detail"]
        await client.config_set("maxmemory", "0")
    await wait_until(lambda: is_healthy(edge))
    assert await edge.get_outcome(edge.play_url()) == 302


class RemoteStore(MemoryStore):
    """A store that counts as shared, so that requests to it may time out."""

    is_shared = True


class Hanging(RemoteStore):
    """A store that responds once a test sets `go`."""

    def __init__(self) -> None:
        super().__init__(Clock())
        self.go = asyncio.Event()
        self.requests = 0

    async def get(self, name: str) -> str | None:
        self.requests += 1
        await self.go.wait()
        return await super().get(name)

    async def probe(self) -> None:
        await self.go.wait()


async def test_a_request_that_timed_out_still_completes():
    """It may be opening a slow connection, which the next request can use."""
    store = Hanging()
    state = build_state(store, Clock(), timeout=0.01)
    with pytest.raises(StateError, match="in time"):
        await state.get("name")
    await wait_until(lambda: is_down(state))
    requests = store.requests
    with pytest.raises(StateError, match="is down"):
        await state.get("name")
    assert store.requests == requests
    store.go.set()
    await wait_until(lambda: is_available(state))
    await state.close()


async def is_down(state):
    try:
        await state.get("name")
    except StateError as error:
        return "is down" in error.detail


async def test_a_single_late_response_does_not_mark_the_store_as_down():
    """Redis or the edge may pause; other plays must still be served."""

    class OnceLate(RemoteStore):
        requests = 0

        async def get(self, name: str) -> str | None:
            self.requests += 1
            if self.requests == 1:
                await asyncio.sleep(0.2)
            return await super().get(name)

    state = build_state(OnceLate(Clock()), Clock(), timeout=0.05)
    late = asyncio.create_task(state.get("name"))
    await asyncio.sleep(0.1)
    assert await state.get("name") is None
    with pytest.raises(StateError, match="in time"):
        await late
    await state.close()


async def test_a_response_that_arrived_while_the_event_loop_was_busy_counts():
    class Near(RemoteStore):
        async def get(self, name: str) -> str | None:
            await asyncio.sleep(0.001)
            for _step in range(5):  # as long as reading and parsing take
                await asyncio.sleep(0)
            return await super().get(name)

    state = build_state(Near(Clock()), Clock(), timeout=0.02)
    request = asyncio.create_task(state.get("name"))
    await asyncio.sleep(0)  # sent, without a response yet
    time.sleep(0.1)  # noqa: ASYNC251  # a long computation blocks the loop
    assert await request is None
    await state.close()


async def test_probing_continues_after_an_unexpected_exception():
    class Broken(RemoteStore):
        failures = 2

        async def probe(self) -> None:
            self.failures -= 1
            if self.failures >= 0:
                raise TypeError("a bug")

    log = io.StringIO()
    state = build_state(Broken(Clock()), Clock(), log=build_logger(log))
    await state.open()
    await wait_until(lambda: log.getvalue().count('"task": "state"') == 2)
    await wait_until(lambda: is_available(state))
    await state.close()


async def test_a_binding_that_arrived_late_is_used_by_the_next_request(clock):
    """With a Redis that is always slightly too slow, the second request of a player succeeds."""

    class Slow(RemoteStore):
        async def claim(self, name: str, value: str, *, ttl: float) -> str:
            holder = await super().claim(name, value, ttl=ttl)
            await asyncio.sleep(0.1)
            return holder

    first_use = FirstUse(build_state(Slow(clock), clock, timeout=0.02), clock, on_failure="deny")
    claims = read_claims({"video": "x8demo1", "iat": NOW, "exp": NOW + 300})

    async def check(viewer: str) -> bool:
        return await first_use.bind(
            build_play_request(token="a.b.c", viewer=parse_address(viewer)), claims
        )

    with pytest.raises(Refusal, match="state-unavailable"):
        await check("203.0.113.7")
    await asyncio.sleep(0.2)
    assert await check("203.0.113.7")
    with pytest.raises(Refusal, match="token-used-elsewhere"):
        await check("198.51.100.7")


async def is_available(state):
    try:
        return await state.get("name") is None
    except StateError:
        return False


async def test_a_request_continues_after_its_viewer_disconnects():
    store = Hanging()
    state = build_state(store, Clock(), timeout=10)
    request = asyncio.create_task(state.get("name"))
    await wait_until(lambda: store.requests == 1)
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    store.go.set()
    assert await state.get("name") is None
    await state.close()
