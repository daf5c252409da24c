"""The commands of docs/scaling.md, with a real Redis."""

import re

import pytest
from documentation import run_script
from support import ROOT, SANDBOX_TOML, run_test_edge

from proxy.adapters.errors import StateError
from proxy.adapters.state.redis import RedisStore

PAGE = (ROOT / "docs" / "scaling.md").read_text()
PASSWORD = "of-this-test"


@pytest.fixture
async def restricted_redis_url(server):
    """Return the URL of a Redis user with only the permissions that the page documents."""
    (line,) = re.findall(r"^(ACL SETUSER .*)$", PAGE, re.MULTILINE)
    async with server.client() as client:
        await client.execute_command(*line.replace(">PASSWORD", f">{PASSWORD}").split())
        await client.execute_command("ACL", "SETUSER", "default", "off")
    return server.url.replace("redis://", f"redis://playgate:{PASSWORD}@")


async def test_the_documented_redis_user_has_all_permissions_that_an_edge_needs(
    restricted_redis_url, sandbox
):
    store = RedisStore(restricted_redis_url, prefix="playgate")
    await store.probe()
    await store.put("a", "1", ttl=60)
    assert await store.claim("b", "2", ttl=60) == "2"
    assert await store.get("b") == "2"
    await store.release("b", "2")
    await store.append("log", ["3"], keep=60)
    assert (await store.read("log", "")).entries == ("3",)
    await store.close()
    shared = {"url": restricted_redis_url, "max_staleness": 0.5, "timeout": 1}
    async with run_test_edge(sandbox, state=shared, tokens={"bind_on_first_use": True}) as edge:
        url = edge.play_url()
        assert (await edge.get(url)).status == 302
        assert (await edge.get(url, source="127.0.1.5")).reason == "token-used-elsewhere"
        assert (await edge.metric("playgate_state_healthy"))[""] == 1
        assert PASSWORD not in edge.log.getvalue()


async def test_the_documented_redis_user_cannot_write_keys_with_another_prefix(
    restricted_redis_url,
):
    store = RedisStore(restricted_redis_url, prefix="other")
    with pytest.raises(StateError, match="the state server responded with"):
        await store.put("a", "1", ttl=60)
    await store.close()


async def test_the_documented_revoke_commands_work(server, tmp_path):
    lines = re.findall(r"^(playgate revoke .*?) *#", PAGE, re.MULTILINE)
    assert len(lines) == 3
    config = SANDBOX_TOML.read_text() + f'\n[state]\nurl = "{server.url}"\ntimeout = 5\n'
    (tmp_path / "playgate.toml").write_text(config)
    for line in lines:
        output = await run_script(line, tmp_path)
        assert output.startswith("revoked: ")
    async with server.client() as client:
        assert await client.xlen("playgate:revocations") == 3
