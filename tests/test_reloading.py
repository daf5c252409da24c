"""Reloading settings and keys of a running edge: all changes apply, or none, and it is reported."""

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
from processes import playgate, run_process
from support import OPERATOR_KEY, SANDBOX_TOML, SECRET, run_reloading_edge, serve_app, wait_until
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
    """Return the settings file of an edge that uses free ports and the test's sandbox."""
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
    replacement = path.with_suffix(".new")
    replacement.write_text(text.replace(old, new))
    replacement.replace(path)


@pytest.fixture
async def edge(file):
    async with run_edge_with(file) as running:
        yield running


def run_edge_with(file, load=None):
    return run_reloading_edge(load or partial(load_settings, file), file)


async def fetch_settings_status(edge):
    return (await edge.get(f"{edge.operator}/readyz")).json["settings"]


async def reload(edge) -> dict:
    """Request a reload, wait until it is done, and return its log line."""
    count = len(read_reload_lines(edge))
    edge.edge.reloader.request_reload()
    await wait_until(lambda: len(read_reload_lines(edge)) > count)
    return read_reload_lines(edge)[-1]


def read_reload_lines(edge):
    return [*edge.lines("reloaded"), *edge.lines("reload-failed")]


async def test_a_changed_settings_file_is_reloaded_automatically(edge, file):
    token = edge.mint(ttl=300)
    assert await edge.try_play(token=token) == 302
    change(file, "[delivery]", '[delivery]\nmode = "relay"')
    await wait_until(lambda: edge.lines("reloaded"))
    line = edge.lines("reloaded")[0]
    assert (line["changed"], line["need_restart"], line["keys"]) == (
        ["delivery.mode"],
        [],
        ["sandbox"],
    )
    assert await edge.try_play(token=token) == 200


async def test_a_reload_applies_limits_keys_and_viewer_settings(edge, file):
    token = edge.mint(ttl=600)
    change(file, 'kid = "sandbox"', 'kid = "renamed"')
    change(file, 'private = "pass"', 'private = "refuse"')
    change(file, "[platform]", '[limits]\nnetwork = "1/minute"\n[platform]')
    line = await reload(edge)
    assert line["changed"] == ["limits.network", "tokens.keys", "viewer.private"]
    assert await edge.try_play(token=token) == "viewer-private"
    change(file, 'private = "refuse"', 'private = "pass"')
    await reload(edge)
    assert await edge.try_play(token=token) == "token-key-unknown"
    assert await edge.try_play(token=edge.mint()) == 302
    assert await edge.try_play(token=edge.mint()) == "rate-limited"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('kid = "sandbox"', "kid = ", "(file): is not TOML"),
        ('private = "pass"', 'private = "maybe"', "viewer.private (line 17): must be"),
        (SECRET, "too short", "its secret has less than"),
        ("[viewer]", "[wiever]", "is not a setting"),
        ("sandbox = true", "sandbox = false", "must start with https://"),
    ],
)
async def test_an_invalid_settings_file_is_reported_and_the_old_settings_stay_in_use(
    edge, file, old, new, message
):
    token, since = edge.mint(), (await fetch_settings_status(edge))["since"]
    change(file, old, new)
    await wait_until(lambda: edge.lines("reload-failed"))
    assert message in " ".join(edge.lines("reload-failed")[0]["problems"])
    assert message in " ".join((await fetch_settings_status(edge))["problems"])
    assert (await fetch_settings_status(edge))["since"] == since
    assert (await edge.metric("playgate_settings_last_reload_successful"))[""] == 0
    assert await edge.try_play(token=token) == 302
    assert (await edge.get(f"{edge.operator}/readyz")).status == 200
    assert "too short" not in edge.log.getvalue()
    await asyncio.sleep(2.5)
    assert len(edge.lines("reload-failed")) == 1, "logged once for each change"

    change(file, new, old)
    await wait_until(lambda: edge.lines("reloaded"))
    assert (await fetch_settings_status(edge))["problems"] == []
    assert (await edge.metric("playgate_settings_last_reload_successful"))[""] == 1


async def test_a_deleted_settings_file_leaves_the_old_settings_in_use(edge, file):
    text = file.read_text()
    file.unlink()
    await wait_until(lambda: edge.lines("reload-failed"))
    assert "cannot be read" in edge.lines("reload-failed")[0]["problems"][0]
    assert await edge.try_play(token=edge.mint()) == 302
    file.write_text(text)
    await wait_until(lambda: edge.lines("reloaded"))


async def test_a_reload_names_the_settings_that_need_a_restart_and_applies_the_others(edge, file):
    change(file, "[delivery]", "play_timeout = 9\n[delivery]")
    change(file, "player_page = true", 'player_page = false\nembed_origins = ["https://a.example"]')
    line = await reload(edge)
    assert line["changed"] == ["web.embed_origins"]
    assert line["need_restart"] == ["platform.play_timeout", "web.player_page"]
    assert (await fetch_settings_status(edge))["need_restart"] == line["need_restart"]
    page = await edge.get(f"{edge.player}/watch/x8demo1")
    assert "https://a.example" in page.headers["Content-Security-Policy"]
    assert (await reload(edge))["need_restart"] == line["need_restart"], "until the edge restarts"


async def test_a_request_in_flight_keeps_the_settings_it_started_with(edge, file, sandbox):
    await edge.play()
    sandbox.controls.hold("video")
    playing = asyncio.create_task(edge.play())
    await wait_until(lambda: sandbox.controls.waiting["video"] == 1)
    change(file, 'private = "pass"', 'private = "refuse"')
    await reload(edge)
    sandbox.controls.release("video")
    assert (await playing).status == 302
    assert await edge.try_play(token=edge.mint()) == "viewer-private"


async def test_a_reload_frees_the_services_that_it_replaces(edge, file):
    """A reference cycle would live until garbage collection, or for ever if startup froze it."""
    await edge.play()
    first = ref(edge.edge.apps.services.admission)
    gc.collect()  # objects of other tests
    gc.disable()
    try:
        before = count_replaced_objects()
        change(file, "[delivery]", '[delivery]\nmode = "relay"')
        await reload(edge)
        await edge.play()  # because a connection keeps a reference to its last request
        await fetch_settings_status(edge)
        await wait_until(lambda: first() is None)
        assert count_replaced_objects() == before
    finally:
        gc.enable()


def count_replaced_objects() -> Counter[type]:
    """Count the objects that a reload replaces, including those with the largest caches."""
    kinds = {Admission, Delivery, TokenVerifier, Relay, SealKeys, TrustedProxies}
    counts = Counter(type(each) for each in gc.get_objects() if type(each) in kinds)
    assert counts.keys() == kinds
    return counts


async def test_a_cached_token_is_refused_once_its_key_is_retired(edge, file, tmp_path):
    """The edge has verified and cached the token before."""
    keys = tmp_path / "keys.json"
    change(file, "[[tokens.keys]]", f'[tokens]\njwks_file = "{keys}"\n[[tokens.keys]]')

    def run_keys_command(*arguments: str) -> None:
        result = CliRunner().invoke(app, ["keys", *arguments, "--config", str(file)])
        assert result.exit_code == 0, result.output

    run_keys_command("generate")
    first = json.loads(keys.read_text())["keys"][0]["kid"]
    await wait_until(lambda: edge.lines("reloaded"))
    token = edge.mint()
    assert await edge.try_play(token=token) == 302

    run_keys_command("generate")
    run_keys_command("rotate")
    await wait_until(lambda: len(edge.lines("reloaded")[-1]["keys"]) == 3)
    assert await edge.try_play(token=token) == 302, "a rotated key still verifies its tokens"
    assert await edge.try_play(token=edge.mint()) == 302
    run_keys_command("retire", first)
    await wait_until(lambda: first not in edge.lines("reloaded")[-1]["keys"])
    assert await edge.try_play(token=token) == "token-key-unknown"


async def test_a_key_expires_without_a_file_change(edge, file, tmp_path):
    keys = tmp_path / "keys.json"
    change(file, "[[tokens.keys]]", f'[tokens]\njwks_file = "{keys}"\n[[tokens.keys]]')
    result = CliRunner().invoke(app, ["keys", "generate", "--config", str(file)])
    assert result.exit_code == 0
    await wait_until(lambda: edge.lines("reloaded"))
    token = edge.mint()
    content = json.loads(keys.read_text())
    content["keys"][0]["exp"] = content["keys"][0]["iat"] + 6
    keys.write_text(json.dumps(content))
    await wait_until(lambda: len(edge.lines("reloaded")) > 1)
    await wait_until(lambda: is_unknown(edge, token))


async def is_unknown(edge, token):
    return await edge.try_play(token=token) == "token-key-unknown"


async def test_revocations_and_rate_limit_counts_survive_a_reload(edge, file):
    change(file, "[platform]", '[limits]\nsubject = "2/minute"\n[platform]')
    await reload(edge)
    revoked = edge.mint(subject="revoked")
    body = json.dumps({"sub": "revoked"})
    await edge.get(f"{edge.operator}/revocations", method="POST", data=body, headers=KEY)
    assert await edge.try_play(token=edge.mint(subject="a")) == 302
    change(file, 'private = "pass"', 'private = "pass" # unchanged')
    await reload(edge)
    assert await edge.try_play(token=revoked) == "token-revoked"
    assert await edge.try_play(token=edge.mint(subject="a")) == 302
    assert await edge.try_play(token=edge.mint(subject="a")) == "rate-limited"


async def test_first_uses_survive_a_reload_while_the_state_server_is_down(file, server):
    change(file, "[platform]", f'[state]\nurl = "{server.url}"\ntimeout = 1\n[platform]')
    change(file, "[[tokens.keys]]", "[tokens]\nbind_on_first_use = true\n[[tokens.keys]]")
    async with run_edge_with(file) as edge:
        url = edge.play_url()
        assert (await edge.get(url, source="127.0.0.5")).status == 302
        await server.stop()
        await reload(edge)
        assert (await edge.get(url, source="127.0.0.5")).status == 302
        assert (await edge.get(url, source="127.0.1.5")).reason == "token-used-elsewhere"


async def test_a_reload_cannot_switch_an_edge_to_sandbox_mode(file):
    """The sandbox's keys are public; only the rules checked at startup keep it on loopback."""
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
    async with run_edge_with(file) as edge:
        file.write_text(text)
        await wait_until(lambda: edge.lines("reload-failed"))
        assert edge.lines("reload-failed")[0]["problems"] == [
            "sandbox: cannot change while the edge runs; restart the edge"
        ]
        assert jwt.get_unverified_header(edge.mint())["kid"] == "one"


async def test_a_settings_file_that_changes_during_a_reload_is_reloaded_again(file):
    def slow_load():
        loaded = load_settings(file)
        if is_running and 'private = "pass"' in file.read_text():
            change(file, 'private = "pass"', 'private = "refuse"')
        return loaded

    is_running = []
    async with run_edge_with(file, slow_load) as edge:
        is_running.append(True)
        await reload(edge)
        await wait_until(lambda: is_private(edge))


async def is_private(edge):
    return await edge.try_play(token=edge.mint()) == "viewer-private"


async def test_a_key_file_created_later_is_loaded_automatically(edge, file, tmp_path):
    keys = tmp_path / "keys.json"
    change(file, "[[tokens.keys]]", f'[tokens]\njwks_file = "{keys}"\n[[tokens.keys]]')
    await wait_until(lambda: edge.lines("reload-failed"))
    assert "does not exist" in edge.lines("reload-failed")[0]["problems"][0]
    result = CliRunner().invoke(app, ["keys", "generate", "--config", str(file)])
    assert result.exit_code == 0, result.output
    await wait_until(lambda: edge.lines("reloaded"))
    assert len(edge.lines("reload-failed")) == 1


async def test_a_reload_adds_and_removes_token_issuers(edge, file):
    keys = generate_private_key(SECP256R1())
    published = jwt.algorithms.ECAlgorithm.to_jwk(keys.public_key(), as_dict=True)
    now = int(time())
    claims = {"video": "x8demo1", "iat": now, "exp": now + 300, "iss": "https://login.example"}
    token = jwt.encode(claims, keys, algorithm="ES256", headers={"kid": "one"})

    async def send_key_set(_request: web.Request) -> web.Response:
        return web.json_response({"keys": [{**published, "kid": "one"}]})

    issuer = web.Application()
    issuer.router.add_get("/jwks.json", send_key_set)
    async with serve_app(issuer) as origin:
        entry = f'[[tokens.issuers]]\nissuer = "https://login.example"\njwks_url = "{origin}/jwks.json"\n'
        change(file, "[[tokens.keys]]", f"{entry}[[tokens.keys]]")
        await reload(edge)
        assert await edge.try_play(token=token) == 302
        assert await edge.metric("playgate_issuer_keys_fetched_timestamp_seconds")
        change(file, entry, "")
        await reload(edge)
        assert await edge.try_play(token=token) == "token-key-unknown"
        assert not await edge.metric("playgate_issuer_keys_fetched_timestamp_seconds")


async def test_sighup_reloads_the_settings_of_a_running_edge(sandbox, file):
    port, operator = free_port(), free_port()
    env = {
        "PLAYGATE_WEB__LISTEN": f"127.0.0.1:{port}",
        "PLAYGATE_OPERATOR__LISTEN": f"127.0.0.1:{operator}",
    }
    async with run_process(*playgate("serve", "--config", file), env=env) as edge:
        await edge.wait_for_output('"event": "serving"')
        edge.process.send_signal(signal.SIGHUP)
        output = await edge.wait_for_output('"event": "reloaded"')
        assert '"changed": [], "need_restart": [], "keys": ["sandbox"]' in output
        os.utime(file)
        await wait_until(lambda: edge.output.count('"event": "reloaded"') == 2)
        file.write_text("nonsense")
        await edge.wait_for_output('"event": "reload-failed"')
        assert await edge.stop() == 0


def has_sighup_handler(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) & 1 << signal.SIGHUP - 1)


async def test_a_sighup_during_startup_does_not_stop_the_edge(file):
    env = {
        "PLAYGATE_WEB__LISTEN": f"127.0.0.1:{free_port()}",
        "PLAYGATE_OPERATOR__LISTEN": f"127.0.0.1:{free_port()}",
    }
    async with run_process(*playgate("serve", "--config", file), env=env) as edge:
        await wait_until(lambda: has_sighup_handler(edge.process.pid))
        while '"event": "serving"' not in edge.output:
            edge.process.send_signal(signal.SIGHUP)
            await asyncio.sleep(0.05)
        assert await edge.stop() == 0
