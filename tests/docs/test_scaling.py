"""docs/scaling.md: what it has an operator type, on a real Redis."""

import re

import pytest
from processes import playgate, started
from support import ROOT, SANDBOX_TOML, an_edge

from proxy.adapters.errors import StateError
from proxy.adapters.state.redis import RedisStore

PAGE = (ROOT / "docs" / "scaling.md").read_text()
PASSWORD = "of-this-test"


@pytest.fixture
async def allowed(server):
    """Return the URL of a user who may do what the page says, and nothing else."""
    (line,) = re.findall(r"^(ACL SETUSER .*)$", PAGE, re.MULTILINE)
    async with server.client() as client:
        await client.execute_command(*line.replace(">PASSWORD", f">{PASSWORD}").split())
        await client.execute_command("ACL", "SETUSER", "default", "off")
    return server.url.replace("redis://", f"redis://playgate:{PASSWORD}@")


async def test_the_user_of_the_page_may_do_all_that_an_edge_does(allowed, sandbox):
    store = RedisStore(allowed, prefix="playgate")
    await store.probe()
    await store.put("a", "1", ttl=60)
    assert await store.claim("b", "2", ttl=60) == "2"
    assert await store.get("b") == "2"
    await store.release("b", "2")
    await store.append("log", ["3"], keep=60)
    assert (await store.read("log", "")).entries == ("3",)
    await store.close()
    shared = {"url": allowed, "max_staleness": 0.5, "timeout": 1}
    async with an_edge(sandbox, state=shared, tokens={"bind_on_first_use": True}) as edge:
        url = edge.play_url()
        assert (await edge.get(url)).status == 302
        assert (await edge.get(url, source="127.0.1.5")).reason == "token-used-elsewhere"
        assert (await edge.metric("playgate_state_healthy"))[""] == 1
        assert PASSWORD not in edge.log.getvalue()


async def test_and_nothing_under_another_name(allowed):
    store = RedisStore(allowed, prefix="other")
    with pytest.raises(StateError, match="the state server responded with"):
        await store.put("a", "1", ttl=60)
    await store.close()


async def test_what_takes_tokens_back_does(server, tmp_path):
    lines = re.findall(r"^playgate (revoke .*?) *#", PAGE, re.MULTILINE)
    assert len(lines) == 3
    config = SANDBOX_TOML.read_text() + f'\n[state]\nurl = "{server.url}"\ntimeout = 5\n'
    (tmp_path / "playgate.toml").write_text(config)
    for line in lines:
        async with started(*playgate(*line.split()), cwd=tmp_path) as command:
            code = await command.process.wait()
            await command.read_to_the_end()
        assert (code, command.output.startswith("revoked: ")) == (0, True), command.output
    async with server.client() as client:
        assert await client.xlen("playgate:revocations") == 3
