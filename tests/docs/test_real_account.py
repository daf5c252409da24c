"""The README's "With a real account", word by word, with the sandbox in Dailymotion's place."""

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


def test_these_are_its_commands():
    assert COMMANDS == [
        "playgate doctor --video ID",
        "playgate serve",
        "curl -s http://127.0.0.1:8081/readyz",
        "playgate token mint --video ID",
        "playgate doctor --video ID --ip ADDRESS",
        "playgate embed ID",
    ]


@pytest.fixture
async def newcomer(sandbox, tmp_path, component):
    """Return a function that types a command as it is written; ports are free ones here."""
    player, operator = free_port(), free_port()
    text, omitting = re.findall(r"^ *```toml\n(.*?)^ *```", SECTION, re.MULTILINE | re.DOTALL)
    keys = iter(["sandbox", "sandbox-secret"])
    lines = []
    for line in text.splitlines():
        filled = line.strip()
        if '"…"' in filled:
            advice = re.search(r"# (openssl rand -hex \d+)", filled)
            value = await shell(component, advice[1]) if advice else next(keys)
            filled = filled.replace("…", value)
        lines.append(filled)
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

    def typed(command: str, **more: str):
        words = command.replace("ID", VIDEO).replace(":8081", f":{operator}").split()
        program = [sys.executable, "-m", "proxy"] if words[0] == "playgate" else words[:1]
        return started(*program, *words[1:], env={**env, **more}, cwd=tmp_path)

    def omit() -> None:
        """Put the other table of the README above [[tokens.keys]], as it says."""
        file = tmp_path / "playgate.toml"
        file.write_text(file.read_text().replace("[[tokens.keys]]", omitting + "\n[[tokens.keys]]"))

    typed.omit = omit
    typed.player = f"http://127.0.0.1:{player}"
    typed.operator = f"http://127.0.0.1:{operator}"
    return typed


async def shell(component, command: str) -> str:
    words = command.split()
    async with started(component(words[0]), *words[1:]) as process:
        assert await process.process.wait() == 0
        await process.read_to_the_end()
    return process.output.strip()


async def said(running) -> tuple[int, str]:
    async with running as process:
        async with asyncio.timeout(60):
            code = await process.process.wait()
        await process.read_to_the_end()
    return code, process.output


async def test_whoever_follows_it_sees_a_video_play(newcomer, edge, component, tmp_path):
    doctor, serve, readyz, mint, doctor_with_ip, embed = COMMANDS
    code, output = await said(newcomer(doctor))
    assert code == 0
    statuses = re.findall(r"^(ok|warn|fail) +(\w+)", output, re.MULTILINE)
    assert [check for status, check in statuses if status != "ok"] == [
        "edge",
        "play",
        "public",
    ]
    assert ("ok", "credentials") in statuses and ("ok", "stream") in statuses

    async with newcomer(serve) as process:
        await process.says('"event": "serving"')
        code, output = await said(newcomer(readyz))
        assert (code, json.loads(output)["status"]) == (0, "ready")
        code, token = await said(newcomer(mint))
        url = f"{newcomer.player}/play/{VIDEO}.m3u8?token={token.strip()}"
        assert (await edge.get(url)).reason == "viewer-private"
    newcomer.omit()
    async with newcomer(serve) as process:
        await process.says('"event": "serving"')
        code, output = await said(newcomer(doctor))
        assert re.search(r"^ok +edge +ready at", output, re.MULTILINE), output
        answer = await edge.get(url)
        assert answer.status == 302
        assert (await edge.get(answer.location)).body.startswith(b"#EXTM3U")

        players, operators = ([URL(it).port] * 2 for it in (newcomer.player, newcomer.operator))
        async with an_nginx(component("nginx"), tmp_path, players, operators) as nginx:
            public = {"PLAYGATE_WEB__PUBLIC_URL": nginx.origin}
            code, output = await said(
                newcomer(doctor_with_ip.replace("ADDRESS", "93.184.216.34"), **public)
            )
            assert code == 0 and "ok   forwarding" in output, output
            code, output = await said(newcomer(embed, **public))
            assert code == 0 and f'src="{nginx.origin}/play/{VIDEO}.m3u8?token=TOKEN"' in output
