"""New settings and keys for an edge that runs: all of it or nothing, and it says so."""

import asyncio
import gc
import json
import os
import signal
from collections import Counter
from functools import partial
from pathlib import Path
from time import time
from weakref import ref

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from ports import free_port
from processes import playgate, started
from support import OPERATOR_KEY, SANDBOX_TOML, SECRET, a_watching_edge, eventually, serving
from typer.testing import CliRunner
from yarl import URL

from proxy.cli import app
from proxy.domain.client_ip import TrustedProxies
from proxy.domain.seal import SealKeys
from proxy.edge.admission import Admission
from proxy.edge.delivery import Delivery
from proxy.edge.relay import Relay
from proxy.edge.token_verifier import TokenVerifier
from proxy.settings import load_settings

KEY = {"Authorization": f"Bearer {OPERATOR_KEY}"}


@pytest.fixture
def file(tmp_path, sandbox):
    """Return the settings file of an edge on free ports in front of the sandbox."""
    text = SANDBOX_TOML.read_text()
    for old, new in {
        "http://127.0.0.1:8090": sandbox.origin,
        "127.0.0.1:8090": URL(sandbox.origin).authority,
        'listen = "127.0.0.1:8080"': 'listen = "127.0.0.1:0"',
        'listen = "127.0.0.1:8081"': 'listen = "127.0.0.1:0"',
        'kid = "sandbox"\n': 'kid = "sandbox"\nissuer = ""\n',
    }.items():
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "playgate.toml"
    path.write_text(text)
    return path


def change(path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) >= 1, old
    beside = path.with_suffix(".new")
    beside.write_text(text.replace(old, new))
    beside.replace(path)


@pytest.fixture
async def edge(file):
    async with an_edge_of(file) as running:
        yield running


def an_edge_of(file, load=None):
    return a_watching_edge(load or partial(load_settings, file), file)


async def told(edge):
    return (await edge.get(f"{edge.operator}/readyz")).json["settings"]


async def reload(edge) -> dict:
    """Ask for it, wait, and return its line."""
    count = len(outcomes(edge))
    edge.edge.reloading.request_reload()
    await eventually(lambda: len(outcomes(edge)) > count)
    return outcomes(edge)[-1]


def outcomes(edge):
    return [*edge.lines("reloaded"), *edge.lines("reload-failed")]


async def outcome(edge, token, video="x8demo1"):
    answer = await edge.get(edge.play_url(video, token))
    return answer.reason or answer.status


async def test_a_changed_file_is_taken_without_being_asked(edge, file):
    token = edge.mint(ttl=300)
    assert await outcome(edge, token) == 302
    change(file, "[delivery]", '[delivery]\nmode = "relay"')
    await eventually(lambda: edge.lines("reloaded"))
    line = edge.lines("reloaded")[0]
    assert (line["changed"], line["need_restart"], line["keys"]) == (
        ["delivery.mode"],
        [],
        ["sandbox"],
    )
    assert await outcome(edge, token) == 200


async def test_settings_of_every_part_are_taken(edge, file):
    token = edge.mint(ttl=600)
    change(file, 'kid = "sandbox"', 'kid = "renamed"')
    change(file, 'private = "pass"', 'private = "refuse"')
    change(file, "[platform]", '[limits]\nnetwork = "1/minute"\n[platform]')
    line = await reload(edge)
    assert line["changed"] == ["limits.network", "tokens.keys", "viewer.private"]
    assert await outcome(edge, token) == "viewer-private"
    change(file, 'private = "refuse"', 'private = "pass"')
    await reload(edge)
    assert await outcome(edge, token) == "token-key-unknown"
    assert await outcome(edge, edge.mint()) == 302
    assert await outcome(edge, edge.mint()) == "rate-limited"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('kid = "sandbox"', "kid = ", "(file): is not TOML"),
        ('private = "pass"', 'private = "maybe"', "viewer.private (line 17): must be"),
        (SECRET, "too short", "its secret is shorter"),
        ("[viewer]", "[wiever]", "is not a setting"),
        ("sandbox = true", "sandbox = false", "must start with https://"),
    ],
)
async def test_a_bad_file_changes_nothing_and_is_told(edge, file, old, new, says):
    token, since = edge.mint(), (await told(edge))["since"]
    change(file, old, new)
    await eventually(lambda: edge.lines("reload-failed"))
    assert says in " ".join(edge.lines("reload-failed")[0]["problems"])
    assert says in " ".join((await told(edge))["problems"])
    assert (await told(edge))["since"] == since
    assert (await edge.metric("playgate_settings_last_reload_successful"))[""] == 0
    assert await outcome(edge, token) == 302
    assert (await edge.get(f"{edge.operator}/readyz")).status == 200
    assert "too short" not in edge.log.getvalue()
    await asyncio.sleep(2.5)
    assert len(edge.lines("reload-failed")) == 1, "once for each change"

    change(file, new, old)
    await eventually(lambda: edge.lines("reloaded"))
    assert (await told(edge))["problems"] == []
    assert (await edge.metric("playgate_settings_last_reload_successful"))[""] == 1


async def test_a_file_that_vanishes_changes_nothing(edge, file):
    kept = file.read_text()
    file.unlink()
    await eventually(lambda: edge.lines("reload-failed"))
    assert "cannot be read" in edge.lines("reload-failed")[0]["problems"][0]
    assert await outcome(edge, edge.mint()) == 302
    file.write_text(kept)
    await eventually(lambda: edge.lines("reloaded"))


async def test_what_takes_a_restart_is_named_and_the_rest_is_taken(edge, file):
    change(file, "[delivery]", "play_timeout = 9\n[delivery]")
    change(file, "player_page = true", 'player_page = false\nembed_origins = ["https://a.example"]')
    line = await reload(edge)
    assert line["changed"] == ["web.embed_origins"]
    assert line["need_restart"] == ["platform.play_timeout", "web.player_page"]
    assert (await told(edge))["need_restart"] == line["need_restart"]
    page = await edge.get(f"{edge.player}/watch/x8demo1")
    assert "https://a.example" in page.headers["Content-Security-Policy"]
    assert (await reload(edge))["need_restart"] == line["need_restart"], "until it is restarted"


async def test_a_request_is_answered_with_what_there_was_when_it_came(edge, file, sandbox):
    await edge.play()
    sandbox.controls.hold("video")
    playing = asyncio.create_task(edge.play())
    await eventually(lambda: sandbox.controls.waiting["video"] == 1)
    change(file, 'private = "pass"', 'private = "refuse"')
    await reload(edge)
    sandbox.controls.release("video")
    assert (await playing).status == 302
    assert await outcome(edge, edge.mint()) == "viewer-private"


async def test_nothing_is_left_of_what_was_replaced(edge, file):
    """A cycle would stay until the collector comes by; one of the edge's start, frozen, for ever."""
    await edge.play()
    first = ref(edge.edge.apps.services.admission)
    gc.collect()  # what others left
    gc.disable()
    try:
        before = replaceable()
        change(file, "[delivery]", '[delivery]\nmode = "relay"')
        await reload(edge)
        await edge.play()  # a connection holds its last request
        await told(edge)
        await eventually(lambda: first() is None)
        assert replaceable() == before
    finally:
        gc.enable()


def replaceable() -> Counter[type]:
    """Count what a reload makes anew, and what remembers most of all."""
    kinds = {Admission, Delivery, TokenVerifier, Relay, SealKeys, TrustedProxies}
    found = Counter(type(it) for it in gc.get_objects() if type(it) in kinds)
    assert found.keys() == kinds
    return found


async def test_a_token_whose_key_was_retired_meanwhile_is_refused(edge, file, tmp_path):
    """Although it was verified before, and is remembered."""
    keys = tmp_path / "keys.json"
    change(file, "[[tokens.keys]]", f'[tokens]\njwks_file = "{keys}"\n[[tokens.keys]]')

    def run(*arguments: str) -> None:
        result = CliRunner().invoke(app, ["keys", *arguments, "--config", str(file)])
        assert result.exit_code == 0, result.output

    run("generate")
    first = json.loads(keys.read_text())["keys"][0]["kid"]
    await eventually(lambda: edge.lines("reloaded"))
    token = edge.mint()
    assert await outcome(edge, token) == 302

    run("generate")
    run("rotate")
    await eventually(lambda: len(edge.lines("reloaded")[-1]["keys"]) == 3)
    assert await outcome(edge, token) == 302, "rotated out, and good for as long as it was"
    assert await outcome(edge, edge.mint()) == 302
    run("retire", first)
    await eventually(lambda: first not in edge.lines("reloaded")[-1]["keys"])
    assert await outcome(edge, token) == "token-key-unknown"


async def test_a_key_lapses_without_anybody_changing_a_file(edge, file, tmp_path):
    keys = tmp_path / "keys.json"
    change(file, "[[tokens.keys]]", f'[tokens]\njwks_file = "{keys}"\n[[tokens.keys]]')
    result = CliRunner().invoke(app, ["keys", "generate", "--config", str(file)])
    assert result.exit_code == 0
    await eventually(lambda: edge.lines("reloaded"))
    token = edge.mint()
    content = json.loads(keys.read_text())
    content["keys"][0]["exp"] = content["keys"][0]["iat"] + 6
    keys.write_text(json.dumps(content))
    await eventually(lambda: len(edge.lines("reloaded")) > 1)
    await eventually(lambda: is_unknown(edge, token))


async def is_unknown(edge, token):
    return await outcome(edge, token) == "token-key-unknown"


async def test_revocations_and_what_was_counted_outlive_a_reload(edge, file):
    change(file, "[platform]", '[limits]\nsubject = "2/minute"\n[platform]')
    await reload(edge)
    taken = edge.mint(subject="taken")
    body = json.dumps({"sub": "taken"})
    await edge.get(f"{edge.operator}/revocations", method="POST", data=body, headers=KEY)
    assert await outcome(edge, edge.mint(subject="a")) == 302
    change(file, 'private = "pass"', 'private = "pass" # the same')
    await reload(edge)
    assert await outcome(edge, taken) == "token-revoked"
    assert await outcome(edge, edge.mint(subject="a")) == 302
    assert await outcome(edge, edge.mint(subject="a")) == "rate-limited"


async def test_first_uses_outlive_a_reload_although_the_state_is_gone(file, server):
    change(file, "[platform]", f'[state]\nurl = "{server.url}"\ntimeout = 1\n[platform]')
    change(file, "[[tokens.keys]]", "[tokens]\nbind_on_first_use = true\n[[tokens.keys]]")
    async with an_edge_of(file) as edge:
        url = edge.play_url()
        assert (await edge.get(url, source="127.0.0.5")).status == 302
        await server.stop()
        await reload(edge)
        assert (await edge.get(url, source="127.0.0.5")).status == 302
        assert (await edge.get(url, source="127.0.1.5")).reason == "token-used-elsewhere"


async def test_the_sandbox_is_not_entered_by_a_reload(file):
    """Its keys are known to everybody, and what guards them are rules of its own."""
    text = file.read_text()
    production = "\n".join(
        [
            'web.listen = "127.0.0.1:0"',
            'operator.listen = "127.0.0.1:0"',
            f'tokens.keys = [{{ kid = "one", alg = "HS256", secret = "{"s" * 32}" }}]',
            'platform = { api_key = "x", api_secret = "y", token_url = "https://127.0.0.1:1", rest_url = "https://127.0.0.1:1" }',
        ]
    )
    file.write_text(production)
    async with an_edge_of(file) as edge:
        file.write_text(text)
        await eventually(lambda: edge.lines("reload-failed"))
        assert edge.lines("reload-failed")[0]["problems"] == ["sandbox: takes a restart"]
        assert jwt.get_unverified_header(edge.mint())["kid"] == "one"


async def test_a_file_that_changes_while_it_is_read_is_read_again(file):
    def slow_load():
        loaded = load_settings(file)
        if is_running and 'private = "pass"' in file.read_text():
            change(file, 'private = "pass"', 'private = "refuse"')
        return loaded

    is_running = []
    async with an_edge_of(file, slow_load) as edge:
        is_running.append(True)
        await reload(edge)
        await eventually(lambda: is_private(edge))


async def is_private(edge):
    return await outcome(edge, edge.mint()) == "viewer-private"


async def test_a_key_file_that_comes_later_is_found_without_being_told(edge, file, tmp_path):
    keys = tmp_path / "keys.json"
    change(file, "[[tokens.keys]]", f'[tokens]\njwks_file = "{keys}"\n[[tokens.keys]]')
    await eventually(lambda: edge.lines("reload-failed"))
    assert "does not exist" in edge.lines("reload-failed")[0]["problems"][0]
    result = CliRunner().invoke(app, ["keys", "generate", "--config", str(file)])
    assert result.exit_code == 0, result.output
    await eventually(lambda: edge.lines("reloaded"))
    assert len(edge.lines("reload-failed")) == 1


async def test_issuers_come_and_go_with_the_settings(edge, file):
    keys = generate_private_key(SECP256R1())
    published = jwt.algorithms.ECAlgorithm.to_jwk(keys.public_key(), as_dict=True)
    now = int(time())
    claims = {"video": "x8demo1", "iat": now, "exp": now + 300, "iss": "https://login.example"}
    token = jwt.encode(claims, keys, algorithm="ES256", headers={"kid": "one"})

    async def answer(_request: web.Request) -> web.Response:
        return web.json_response({"keys": [{**published, "kid": "one"}]})

    served = web.Application()
    served.router.add_get("/jwks.json", answer)
    async with serving(served) as origin:
        entry = f'[[tokens.issuers]]\nissuer = "https://login.example"\njwks_url = "{origin}/jwks.json"\n'
        change(file, "[[tokens.keys]]", f"{entry}[[tokens.keys]]")
        await reload(edge)
        assert await outcome(edge, token) == 302
        assert await edge.metric("playgate_issuer_keys_fetched_timestamp_seconds")
        change(file, entry, "")
        await reload(edge)
        assert await outcome(edge, token) == "token-key-unknown"
        assert not await edge.metric("playgate_issuer_keys_fetched_timestamp_seconds")


async def test_sighup_loads_them_again_in_a_real_process(sandbox, file):
    port, operator = free_port(), free_port()
    env = {
        "PLAYGATE_WEB__LISTEN": f"127.0.0.1:{port}",
        "PLAYGATE_OPERATOR__LISTEN": f"127.0.0.1:{operator}",
    }
    async with started(*playgate("serve", "--config", file), env=env) as edge:
        await edge.says('"event": "serving"')
        edge.process.send_signal(signal.SIGHUP)
        said = await edge.says('"event": "reloaded"')
        assert '"changed": [], "need_restart": [], "keys": ["sandbox"]' in said
        os.utime(file)
        await eventually(lambda: edge.output.count('"event": "reloaded"') == 2)
        file.write_text("nonsense")
        await edge.says('"event": "reload-failed"')
        assert await edge.stop() == 0


def catches_sighup(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) & 1 << signal.SIGHUP - 1)


async def test_a_sighup_while_it_starts_does_not_end_it(file):
    env = {
        "PLAYGATE_WEB__LISTEN": f"127.0.0.1:{free_port()}",
        "PLAYGATE_OPERATOR__LISTEN": f"127.0.0.1:{free_port()}",
    }
    async with started(*playgate("serve", "--config", file), env=env) as edge:
        await eventually(lambda: catches_sighup(edge.process.pid))
        while '"event": "serving"' not in edge.output:
            edge.process.send_signal(signal.SIGHUP)
            await asyncio.sleep(0.05)
        assert await edge.stop() == 0
