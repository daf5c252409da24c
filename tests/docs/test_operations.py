"""The commands of docs/operations.md, section "In a minute", on an edge with Redis and a key file."""

import json
import re
import sys
from functools import partial

import pytest
from documentation import read_code_blocks, run_script
from processes import build_edge_environment
from support import ROOT, SANDBOX_TOML, run_test_edge, wait_until

SECTION = (ROOT / "docs" / "operations.md").read_text().partition("## Why does it not play?")[0]


def read_commands(heading: str) -> str:
    """Return the shell commands below a heading of the section."""
    (text,) = re.findall(
        rf"^### {re.escape(heading)}\n(.+?)(?=^###|\Z)", SECTION, re.MULTILINE | re.DOTALL
    )
    return "".join(read_code_blocks(text, "sh"))


@pytest.fixture
async def edge(sandbox, server, tmp_path):
    """Run an edge whose settings are in the folder in which the commands run."""
    tables = {
        "state": {"url": server.url, "max_staleness": 0.5, "timeout": 5},
        "tokens": {"jwks_file": str(tmp_path / "keys.json")},
    }
    text = SANDBOX_TOML.read_text()
    tables_text = "".join(
        f"[{table}]\n"
        + "".join(f"{name} = {json.dumps(value)}\n" for name, value in members.items())
        for table, members in tables.items()
    )
    (tmp_path / "playgate.toml").write_text(
        text.replace("[[tokens.keys]]", tables_text + "[[tokens.keys]]")
    )
    await run_script("playgate keys generate --config playgate.toml", tmp_path)
    async with run_test_edge(sandbox, config=tmp_path / "playgate.toml") as running:
        yield running


@pytest.fixture
def run(edge, sandbox, tmp_path):
    """Return `run_script` for the folder and the environment of the edge."""
    env = {
        **build_edge_environment(sandbox),
        "PLAYGATE_OPERATOR__LISTEN": str(edge.edge.operator),
        "PLAYGATE_WEB__PUBLIC_URL": edge.player,
    }
    return partial(run_script, folder=tmp_path, env=env)


def fill(command: str) -> str:
    """Replace the placeholders for a video and a viewer's address."""
    return command.replace(" ID ", " x8demo1 ").replace(" ADDRESS ", " 203.0.113.9 ")


async def test_the_commands_for_a_403_show_its_reason(edge, run, tmp_path):
    refusal = await edge.play("x8demo1", headers={"Authorization": "Bearer x.y.z"})
    token = edge.mint("x8tall1")
    lines = read_commands("Why does this viewer get 403?").splitlines()
    (tmp_path / "log").write_text(edge.log.getvalue())
    entry = await run(
        lines[0]
        .replace("journalctl -u 'playgate@*' -o cat", "cat log")
        .replace("REQUEST-ID", refusal.json["request_id"]),
    )
    assert json.loads(entry)["reason"] == refusal.reason
    explained = await run(fill(lines[1]).replace("TOKEN", token), expected=1)
    assert "token-video" in explained


async def test_the_commands_that_check_dailymotion_show_its_failures(edge, run):
    first, doctor = read_commands("Is it us or Dailymotion?").splitlines()
    status_command = first.replace("http://127.0.0.1:8081", edge.operator)
    assert json.loads(await run(status_command))["platform"] == {}
    await edge.play("x8garbage")
    assert json.loads(await run(status_command))["platform"]["video"]["reason"].startswith(
        "platform-"
    )
    output = await run(f"{fill(doctor)} || true")
    assert "credentials" in output and "stream" in output


async def test_the_commands_to_rotate_a_key_work(run, tmp_path):
    await run(read_commands("How do I rotate a key?"))

    keys = json.loads((tmp_path / "keys.json").read_text())["keys"]
    assert len(keys) == 2


async def test_the_commands_to_revoke_a_link_work(edge, run):
    token = edge.mint("x8demo1", subject="viewer-7")
    assert (await edge.get(edge.play_url(token=token))).status == 302
    lines = read_commands("How do I revoke a link?").splitlines()
    assert len(lines) == 4
    await run(lines[0].replace("TOKEN-ID", edge.lines()[-1]["jti"]))

    async def is_revoked() -> bool:
        return (await edge.get(edge.play_url(token=token))).reason == "token-revoked"

    await wait_until(is_revoked)
    await run("\n".join(lines[1:]))


async def test_the_commands_to_roll_out_a_version_work(edge, run, tmp_path):
    """A stub writes the arguments of `systemctl` to a file, because tests run without systemd."""
    port = edge.operator.rpartition(":")[2]
    script = read_commands("How do I roll out?").replace("8081 8082 8083", port)
    script = script.replace("/etc/playgate/", "").replace("/opt/", f"{tmp_path}/")
    install, _, script = script.partition(" --no-deps .\n")
    assert "pip install --require-hashes -r requirements.txt" in install
    (tmp_path / "playgate-NEW" / "bin").mkdir(parents=True)
    command = tmp_path / "playgate-NEW" / "bin" / "playgate"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m proxy "$@"\n')
    command.chmod(0o755)
    stub = 'systemctl() { echo "$@" >> systemctl.log; }\n'
    await run(stub + script)

    assert (tmp_path / "systemctl.log").read_text() == f"restart playgate@{port}\n"
    assert (tmp_path / "playgate").resolve() == tmp_path / "playgate-NEW"
