"""The commands of docs/operations.md, section "In a minute", on an edge with Redis and a key file."""

import asyncio
import json
import os
import re
import sys
from pathlib import Path

import pytest
from support import ROOT, SANDBOX_TOML, run_test_edge, wait_until

SECTION = (ROOT / "docs" / "operations.md").read_text().partition("## Why does it not play?")[0]


def read_commands(heading: str) -> str:
    """Return the shell commands below a heading of the section."""
    (text,) = re.findall(
        rf"^### {re.escape(heading)}\n(.+?)(?=^###|\Z)", SECTION, re.MULTILINE | re.DOTALL
    )
    return "".join(re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))


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
    await run("playgate keys generate --config playgate.toml", tmp_path)
    async with run_test_edge(sandbox, config=tmp_path / "playgate.toml") as running:
        (tmp_path / "edge.env").write_text(
            f"export PLAYGATE_OPERATOR__LISTEN={running.edge.operator}\n"
            f"export PLAYGATE_PLATFORM__TOKEN_URL={sandbox.origin}/oauth/v1/token\n"
            f"export PLAYGATE_PLATFORM__REST_URL={sandbox.origin}/rest\n"
            f"export PLAYGATE_PLATFORM__ALLOWED_HOSTS='[\"{sandbox.origin[7:]}\"]'\n"
            f"export PLAYGATE_WEB__PUBLIC_URL={running.player}\n"
        )
        yield running


async def run(script: str, folder: Path, *, expected: int = 0) -> str:
    """Run a shell script in a folder; `playgate` runs this environment's package."""
    prelude = f'playgate() {{ {sys.executable} -m proxy "$@"; }}\n'
    if (folder / "edge.env").exists():
        prelude += ". ./edge.env\n"
    process = await asyncio.create_subprocess_exec(
        "sh", "-e", "-c", prelude + script,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    out, _ = await process.communicate()
    assert process.returncode == expected, out.decode()
    return out.decode()


def fill(command: str) -> str:
    """Replace the placeholders for a video and a viewer's address."""
    return command.replace(" ID ", " x8demo1 ").replace(" ADDRESS ", " 203.0.113.9 ")


async def test_the_commands_for_a_403_show_its_reason(edge, tmp_path):
    refusal = await edge.play("x8demo1", headers={"Authorization": "Bearer x.y.z"})
    token = edge.mint("x8tall1")
    lines = read_commands("Why does this viewer get 403?").splitlines()
    (tmp_path / "log").write_text(edge.log.getvalue())
    entry = await run(
        lines[0]
        .replace("journalctl -u 'playgate@*' -o cat", "cat log")
        .replace("REQUEST-ID", refusal.json["request_id"]),
        tmp_path,
    )
    assert json.loads(entry)["reason"] == refusal.reason
    explained = await run(fill(lines[1]).replace("TOKEN", token), tmp_path, expected=1)
    assert "token-video" in explained


async def test_the_commands_that_check_dailymotion_show_its_failures(edge, sandbox, tmp_path):
    first, doctor = read_commands("Is it us or Dailymotion?").splitlines()
    status_command = first.replace("http://127.0.0.1:8081", edge.operator)
    assert json.loads(await run(status_command, tmp_path))["platform"] == {}
    await edge.play("x8garbage")
    assert json.loads(await run(status_command, tmp_path))["platform"]["video"][
        "reason"
    ].startswith("platform-")
    output = await run(f"{fill(doctor)} || true", tmp_path)
    assert "credentials" in output and "stream" in output


async def test_the_commands_to_rotate_a_key_work(edge, tmp_path):
    await run(read_commands("How do I rotate a key?"), tmp_path)

    keys = json.loads((tmp_path / "keys.json").read_text())["keys"]
    assert len(keys) == 2


async def test_the_commands_to_revoke_a_link_work(edge, tmp_path):
    token = edge.mint("x8demo1", subject="viewer-7")
    assert (await edge.get(edge.play_url(token=token))).status == 302
    lines = read_commands("How do I revoke a link?").splitlines()
    assert len(lines) == 4
    await run(lines[0].replace("TOKEN-ID", edge.lines()[-1]["jti"]), tmp_path)

    async def is_revoked() -> bool:
        return (await edge.get(edge.play_url(token=token))).reason == "token-revoked"

    await wait_until(is_revoked)
    await run("\n".join(lines[1:]), tmp_path)


async def test_the_commands_to_roll_out_a_version_work(edge, tmp_path):
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
    await run(stub + script, tmp_path)

    assert (tmp_path / "systemctl.log").read_text() == f"restart playgate@{port}\n"
    assert (tmp_path / "playgate").resolve() == tmp_path / "playgate-NEW"
