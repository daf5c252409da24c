"""The commands of the README's "With a real account", with the sandbox instead of Dailymotion."""

import asyncio
import json
import re
import sys

import pytest
from nginx_server import an_nginx
from ports import free_port
from processes import started
from support import ROOT
from yarl import URL

README = (ROOT / "README.md").read_text()
SECTION = README.partition("## With a real account")[2].partition("\n## ")[0]
COMMANDS = [
    inline or block
    for inline, block in re.findall(
        r"`((?:playgate|curl) [^`]+)`|^   (playgate .+)$", SECTION, re.MULTILINE
    )
]
VIDEO = "x8demo1"


def test_the_section_has_exactly_these_commands():
    assert COMMANDS == [
        "playgate doctor --video ID",
        "playgate serve",
        "curl -s http://127.0.0.1:8081/readyz",
        "playgate token mint --video ID",
        "playgate doctor --video ID --ip ADDRESS",
        "playgate embed ID",
    ]


@pytest.fixture
async def start_command(sandbox, tmp_path, component):
    """Return a function that runs a command of the README, with free ports."""
    player, operator = free_port(), free_port()
    text, viewer_table = re.findall(r"^ *```toml\n(.*?)^ *```", SECTION, re.MULTILINE | re.DOTALL)
    keys = iter(["sandbox", "sandbox-secret"])
    lines = []
    for line in text.splitlines():
        setting = line.strip()
        if '"…"' in setting:
            command = re.search(r"# (openssl rand -hex \d+)", setting)
            value = await run_command(component, command[1]) if command else next(keys)
            setting = setting.replace("…", value)
        lines.append(setting)
    (tmp_path / "playgate.toml").write_text("\n".join(lines))
    env = {
        "PLAYGATE_SANDBOX": "true",
        "PLAYGATE_WEB__LISTEN": f"127.0.0.1:{player}",
        "PLAYGATE_OPERATOR__LISTEN": f"127.0.0.1:{operator}",
        "PLAYGATE_PLATFORM__TOKEN_URL": f"{sandbox.origin}/oauth/v1/token",
        "PLAYGATE_PLATFORM__REST_URL": f"{sandbox.origin}/rest",
        "PLAYGATE_DELIVERY__CDN_FAMILIES": '["ipv4"]',
        "PLAYGATE_PLATFORM__ALLOWED_HOSTS": json.dumps([URL(sandbox.origin).authority]),
    }

    def start_command(command: str, **variables: str):
        words = command.replace("ID", VIDEO).replace(":8081", f":{operator}").split()
        program = [sys.executable, "-m", "proxy"] if words[0] == "playgate" else words[:1]
        return started(*program, *words[1:], env={**env, **variables}, cwd=tmp_path)

    def insert_viewer_table() -> None:
        """Put the README's [viewer] table above [[tokens.keys]], as the README says."""
        file = tmp_path / "playgate.toml"
        file.write_text(
            file.read_text().replace("[[tokens.keys]]", viewer_table + "\n[[tokens.keys]]")
        )

    start_command.insert_viewer_table = insert_viewer_table
    start_command.player = f"http://127.0.0.1:{player}"
    start_command.operator = f"http://127.0.0.1:{operator}"
    return start_command


async def run_command(component, command: str) -> str:
    words = command.split()
    async with started(component(words[0]), *words[1:]) as process:
        assert await process.process.wait() == 0
        await process.read_to_the_end()
    return process.output.strip()


async def wait_for_exit(starting) -> tuple[int, str]:
    async with starting as process:
        async with asyncio.timeout(60):
            code = await process.process.wait()
        await process.read_to_the_end()
    return code, process.output


async def test_following_the_section_leads_to_a_playing_video(
    start_command, edge, component, tmp_path
):
    doctor, serve, readyz, mint, doctor_with_ip, embed = COMMANDS
    code, output = await wait_for_exit(start_command(doctor))
    assert code == 0
    statuses = re.findall(r"^(ok|warn|fail) +(\w+)", output, re.MULTILINE)
    assert [check for status, check in statuses if status != "ok"] == [
        "edge",
        "play",
        "public",
    ]
    assert ("ok", "credentials") in statuses and ("ok", "stream") in statuses

    async with start_command(serve) as process:
        await process.says('"event": "serving"')
        code, output = await wait_for_exit(start_command(readyz))
        assert (code, json.loads(output)["status"]) == (0, "ready")
        code, token = await wait_for_exit(start_command(mint))
        url = f"{start_command.player}/play/{VIDEO}.m3u8?token={token.strip()}"
        assert (await edge.get(url)).reason == "viewer-private"
    start_command.insert_viewer_table()
    async with start_command(serve) as process:
        await process.says('"event": "serving"')
        code, output = await wait_for_exit(start_command(doctor))
        assert re.search(r"^ok +edge +ready at", output, re.MULTILINE), output
        response = await edge.get(url)
        assert response.status == 302
        assert (await edge.get(response.location)).body.startswith(b"#EXTM3U")

        players, operators = (
            [URL(url).port] * 2 for url in (start_command.player, start_command.operator)
        )
        async with an_nginx(component("nginx"), tmp_path, players, operators) as nginx:
            public = {"PLAYGATE_WEB__PUBLIC_URL": nginx.origin}
            code, output = await wait_for_exit(
                start_command(doctor_with_ip.replace("ADDRESS", "93.184.216.34"), **public)
            )
            assert code == 0 and "ok   forwarding" in output, output
            code, output = await wait_for_exit(start_command(embed, **public))
            assert code == 0 and f'src="{nginx.origin}/play/{VIDEO}.m3u8?token=TOKEN"' in output
