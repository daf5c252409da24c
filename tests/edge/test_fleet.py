"""Instances share the access token and the verdicts on videos."""

import asyncio
import json
from contextlib import AsyncExitStack

import pytest
from support import PLAYLIST_HEADERS, StillClock, build_state, run_test_edge, wait_until

from proxy.adapters.dailymotion.token_endpoint import AccessToken
from proxy.adapters.errors import StateError
from proxy.adapters.state.store import MemoryStore
from proxy.adapters.telemetry import build_telemetry
from proxy.domain.reasons import Reason, Refusal, build_overload_refusal
from proxy.edge.access_token_cache import AccessTokenCache
from proxy.edge.shared_access_token import SharedAccessToken
from proxy.sandbox.controls import Fault
from proxy.settings.platform import PlatformConfig

EMPTY = Fault(status=200, body="#EXTM3U\n", headers=PLAYLIST_HEADERS)


async def test_instances_that_start_together_fetch_one_access_token(sandbox, server):
    async with AsyncExitStack() as stack:
        edges = [run_test_edge(sandbox, state={"url": server.url}) for _ in range(4)]
        started = await asyncio.gather(*map(stack.enter_async_context, edges))
        responses = await asyncio.gather(*(edge.play() for edge in started))
        assert [response.status for response in responses] == [302] * 4
        assert sandbox.controls.calls["token"] == 1
        for edge in started:
            assert (await edge.get(f"{edge.operator}/readyz")).status == 200


async def test_a_token_that_dailymotion_refuses_is_replaced_once_for_all_instances(sandbox, server):
    async with AsyncExitStack() as stack:
        edges = [run_test_edge(sandbox, state={"url": server.url}) for _ in range(3)]
        started = await asyncio.gather(*map(stack.enter_async_context, edges))
        await asyncio.gather(*(edge.play() for edge in started))
        sandbox.accounts.access_tokens.clear()
        responses = await asyncio.gather(*(edge.play() for edge in started))
        assert [response.status for response in responses] == [302] * 3
        assert sandbox.controls.calls["token"] == 2


async def test_every_instance_fetches_its_own_token_while_the_shared_state_is_down(sandbox, server):
    await server.stop()
    async with (
        run_test_edge(sandbox, state={"url": server.url}) as one,
        run_test_edge(sandbox, state={"url": server.url}) as two,
    ):
        assert [(await edge.play()).status for edge in (one, two)] == [302, 302]
    assert sandbox.controls.calls["token"] == 2


async def test_the_shared_state_does_not_reveal_secrets(sandbox, server):
    async with run_test_edge(sandbox, state={"url": server.url}) as edge:
        await edge.play()
        async with server.client() as client:
            stored = {}
            for key in await client.keys("*"):
                if await client.type(key) == "string":
                    stored[key] = await client.get(key)
    assert sum(":access-token:" in key for key in stored) == 1
    for secret in (*sandbox.accounts.access_tokens, "sandbox-secret"):
        assert secret not in json.dumps(stored)


class Grants:
    """A grant that counts its tokens; a test decides when it responds and whether it fails."""

    def __init__(self, clock: StillClock) -> None:
        self.clock = clock
        self.fetched = 0
        self.failure: Refusal | None = None
        self.go = asyncio.Event()
        self.go.set()

    async def fetch_access_token(self, *, deadline: float) -> AccessToken:  # noqa: ARG002  # the protocol's signature
        await self.go.wait()
        if self.failure is not None:
            raise self.failure
        self.fetched += 1
        return AccessToken(value=f"token-{self.fetched}", expires_at=self.clock.now() + 3600)

    async def close(self) -> None:
        pass


class Recording(MemoryStore):
    """A store that records the last name and value that were put."""

    last = ("", "")

    async def put(self, name: str, value: str, *, ttl: float) -> None:
        self.last = (name, value)
        await super().put(name, value, ttl=ttl)


class Failing(MemoryStore):
    """A store that fails while `is_failing`."""

    is_failing = False

    async def get(self, name: str) -> str | None:
        if self.is_failing:
            raise StateError("is_failing is set")
        return await super().get(name)


class Fleet:
    """Instances that share a store; the test clock stands still."""

    def __init__(self) -> None:
        self.clock = StillClock()
        self.grants = Grants(self.clock)
        self.store = Recording(self.clock)

    def instance(self, *, store=None, **options) -> "Instance":
        config = {"api_key": "one", "api_secret": "secret", "play_timeout": 4, **options}
        state = build_state(store or self.store, self.clock)
        return Instance(self.grants, state, PlatformConfig(**config), self.clock)


class Instance(SharedAccessToken):
    """One instance, which can fetch a token that is better than its current one."""

    async def get(
        self, current: AccessToken | None = None, *, was_refused: bool = False
    ) -> AccessToken:
        return await self.fetch(current, was_refused=was_refused, deadline=0)


@pytest.fixture
async def fleet() -> Fleet:
    return Fleet()


async def test_instances_share_a_token_and_its_replacement(fleet):
    one, two = fleet.instance(), fleet.instance()
    first = await one.get()
    fleet.clock.advance(600)
    second = await two.get()
    assert second == first
    third = await two.get(second, was_refused=True)
    assert (await one.get(first)).value == third.value
    assert fleet.grants.fetched == 2


async def test_a_refresh_does_not_use_an_older_shared_token_unless_its_own_was_refused(fleet):
    await fleet.instance().get()
    old = fleet.store.last
    fleet.clock.advance(3000)
    newer = AccessToken(value="of another fleet", expires_at=fleet.clock.now() + 1000)
    assert (await fleet.instance().get(newer)).value == "token-2"
    await fleet.store.put(*old, ttl=600)
    assert (await fleet.instance().get(newer, was_refused=True)).value == "token-1"
    assert fleet.grants.fetched == 2


async def test_a_shared_token_that_expires_soon_is_not_used(fleet):
    await fleet.instance().get()
    fleet.clock.advance(3600 - 20)
    assert (await fleet.instance().get()).expires_at == fleet.clock.now() + 3600


async def test_a_dead_lease_holder_delays_the_others_until_its_lease_expires(fleet):
    class Dead(MemoryStore):
        async def release(self, name: str, value: str) -> None:
            """Do nothing, like a killed process."""

    fleet.store = Dead(fleet.clock)
    fleet.grants.go.clear()
    killed = asyncio.create_task(fleet.instance().get())
    await asyncio.sleep(0.05)
    killed.cancel()
    await asyncio.gather(killed, return_exceptions=True)
    fleet.grants.go.set()

    waiting = asyncio.create_task(fleet.instance().get())
    waited = 0.0
    while not waiting.done():
        fleet.clock.advance(step := await fleet.clock.next_sleeper())
        waited += step
        await asyncio.sleep(0.01)
    assert (await waiting).value == "token-1"
    assert 4.9 <= waited <= 5.2


@pytest.mark.parametrize("is_extended", [False, True])
async def test_a_lease_that_never_expires_does_not_block_instances(fleet, is_extended):
    """Another writer sets the lease, once or repeatedly."""
    name = fleet.instance().lease_name
    await fleet.store.put(name, "somebody", ttl=10**9)
    waiting = asyncio.create_task(fleet.instance().get())
    waited = 0.0
    while not waiting.done():
        fleet.clock.advance(step := await fleet.clock.next_sleeper())
        waited += step
        if is_extended:
            await fleet.store.put(name, f"somebody-{waited}", ttl=10**9)
        await asyncio.sleep(0.01)
    assert (await waiting).value == "token-1"
    assert 4.9 <= waited <= 5.4
    if not is_extended:
        assert await fleet.store.get(name) is None, "the lease was not released"
    await asyncio.wait_for(fleet.instance().get(), 5)


async def test_a_failed_fetch_releases_the_lease(fleet):
    fleet.grants.failure = Refusal(Reason.PLATFORM_CREDENTIALS)
    for _ in range(2):
        with pytest.raises(Refusal, match="platform-credentials"):
            await fleet.instance().get()
    fleet.grants.failure = None
    assert (await fleet.instance().get()).value == "token-1"


@pytest.mark.parametrize("other", [{"api_key": "two"}, {"api_secret": "another"}])
async def test_instances_with_another_key_or_secret_do_not_share_a_token(fleet, other):
    await fleet.instance().get()
    assert (await fleet.instance(**other).get()).value == "token-2"


async def test_a_shared_token_from_another_writer_is_ignored(fleet):
    await fleet.instance().get()
    name, _ = fleet.store.last
    await fleet.store.put(name, '["foisted", 99999999999]', ttl=60)
    assert (await fleet.instance().get()).value == "token-2"


async def test_instances_share_verdicts(sandbox, server, start_edge):
    shared = {
        "state": {"url": server.url, "max_staleness": 0.2},
        "delivery": {"mode": "validate"},
    }
    one, two = await start_edge(**shared), await start_edge(**shared)
    sandbox.controls.set_fault("playlist", EMPTY)
    assert (await one.play()).status == 302, "one bad check must not refuse a play"

    await wait_until(lambda: is_published(server, 1))
    await two.edge.apps.process.playable_cache.pull()
    assert (await two.play()).status == 302
    await wait_until(lambda: is_invalid(two))
    await wait_until(lambda: is_invalid(one))
    sandbox.controls.set_fault("playlist", None)
    new = await start_edge(**shared)
    await new.edge.apps.process.playable_cache.pull()
    before = sandbox.controls.calls["playlist"]
    assert (await new.play()).reason == "playlist-invalid"
    assert sandbox.controls.calls["playlist"] == before


async def is_published(server, count):
    async with server.client() as client:
        return await client.xlen("playgate:verdicts") >= count


async def is_invalid(edge):
    return (await edge.play()).reason == "playlist-invalid"


async def test_older_and_malformed_verdicts_from_the_shared_log_are_ignored(server, start_edge):
    shared = {
        "state": {"url": server.url, "max_staleness": 0.2},
        "delivery": {"mode": "validate"},
    }
    edge = await start_edge(**shared)
    assert (await edge.play()).status == 302
    old = json.dumps(["x8demo1", "invalid", "old", 1_700_000_000, 5])
    async with server.client() as client:
        for entry in (
            "{}",
            "[]",
            '["x8demo1","sure","",1,1]',
            '["x8demo1","invalid","",null,1]',
            old,
            '["x8demo1","invalid","",NaN,5]',
            '["x8demo1","invalid","",1e999,5]',
            '["x8demo1","invalid","",9e15,5]',
            '["../..","invalid","",1,1]',
        ):
            await client.xadd("playgate:verdicts", {"entry": entry})
    await edge.edge.apps.process.playable_cache.pull()
    assert (await edge.play()).status == 302


async def test_a_cached_refusal_keeps_its_retry_after(fleet):
    fleet.grants.failure = build_overload_refusal("token: this process may not open more files")
    telemetry = build_telemetry(clock=fleet.clock)
    tokens = AccessTokenCache(fleet.instance(), telemetry, fetch_timeout=4)
    for _ in range(2):
        with pytest.raises(Refusal) as refused:
            await tokens.get_token()
        assert (refused.value.reason, refused.value.retry_after) == (Reason.OVERLOADED, 1)
    await tokens.close()


async def test_waiting_for_a_lease_starts_over_after_the_shared_state_failed(fleet):
    holder, waiting = fleet.instance(), fleet.instance(store=(store := Failing(fleet.clock)))
    await store.claim(holder.lease_name, "another", ttl=100)
    first = asyncio.create_task(waiting.get())
    await fleet.clock.next_sleeper()
    store.is_failing = True
    fleet.clock.advance(1)
    await first  # fetched without the shared state
    store.is_failing = False
    fleet.clock.advance(3000)
    await store.put(holder.lease_name, "another", ttl=100)
    second = asyncio.create_task(waiting.get(was_refused=True, current=await first))
    await fleet.clock.next_sleeper()  # the instance waits for the valid lease
    assert await store.get(holder.lease_name) == "another"
    second.cancel()
