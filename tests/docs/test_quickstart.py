"""The steps of docs/quickstart.md, with the sandbox instead of Dailymotion."""

import asyncio
import json
import re
import sys

import pytest
from nginx_server import run_nginx_process
from ports import free_port
from processes import run_process
from support import ROOT
from yarl import URL

PAGE = (ROOT / "docs" / "quickstart.md").read_text()
SETTINGS, VIEWER_TABLE, WEB_TABLE = re.findall(
    r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL
)
COMMANDS = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
    if line.startswith(("playgate", "curl", "sed"))
]
VIDEO = "x8demo1"


def test_the_page_has_exactly_these_commands():
    assert [command.partition(" -e")[0] for command in COMMANDS] == [
        "playgate check-config",
        "playgate doctor --video ID",
        "playgate serve",
        "curl -s http://127.0.0.1:8081/readyz",
        'curl -si "http://127.0.0.1:8080/play/ID.m3u8?token=$(playgate token mint --video ID)"',
        "sed",
        "playgate doctor --video ID --ip ADDRESS",
        "playgate token mint --video ID --url",
        "playgate embed ID --only hls.js --mint",
    ]


@pytest.fixture
async def start_command(sandbox, tmp_path, component):
    """Return a function that runs a command of the page, with free ports."""
    player, operator = free_port(), free_port()
    keys = iter(["sandbox", "sandbox-secret"])
    lines = []
    for line in SETTINGS.splitlines():
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
        text = command.replace("playgate ", f"{sys.executable} -m proxy ").replace("ID", VIDEO)
        text = text.replace(":8081", f":{operator}").replace(":8080", f":{player}")
        return run_process("sh", "-c", f"exec {text}", env={**env, **variables}, cwd=tmp_path)

    def insert_table(table: str) -> None:
        """Put a table above [operator], as the page says."""
        file = tmp_path / "playgate.toml"
        file.write_text(file.read_text().replace("[operator]", table + "\n[operator]"))

    start_command.insert_table = insert_table
    start_command.direct = {"PLAYGATE_WEB__PUBLIC_URL": f"http://127.0.0.1:{player}"}
    start_command.player = f"http://127.0.0.1:{player}"
    start_command.operator = f"http://127.0.0.1:{operator}"
    return start_command


async def run_command(component, command: str) -> str:
    words = command.split()
    async with run_process(component(words[0]), *words[1:]) as process:
        assert await process.process.wait() == 0
        await process.read_to_the_end()
    return process.output.strip()


async def wait_for_exit(starting) -> tuple[int, str]:
    async with starting as process:
        async with asyncio.timeout(60):
            code = await process.process.wait()
        await process.read_to_the_end()
    return code, process.output


async def test_following_the_page_leads_to_a_playing_video(
    start_command, edge, component, tmp_path
):
    check_config, doctor, serve, readyz, play, sed, doctor_with_ip, mint, embed = COMMANDS
    code, output = await wait_for_exit(start_command(check_config))
    assert (code, "error" in output) == (0, False), output
    code, output = await wait_for_exit(start_command(doctor))
    assert code == 0
    statuses = re.findall(r"^(ok|warn|fail) +(\w+)", output, re.MULTILINE)
    assert [check for status, check in statuses if status != "ok"] == ["edge", "play", "public"]
    assert ("ok", "credentials") in statuses and ("ok", "stream") in statuses

    async with start_command(serve) as process:
        await process.wait_for_output('"event": "serving"')
        code, output = await wait_for_exit(start_command(readyz))
        assert (code, json.loads(output)["status"]) == (0, "ready")
        code, url = await wait_for_exit(start_command(mint, **start_command.direct))
        assert (await edge.get(url.strip())).reason == "viewer-private"
    start_command.insert_table(VIEWER_TABLE)
    async with start_command(serve) as process:
        await process.wait_for_output('"event": "serving"')
        code, output = await wait_for_exit(start_command(play))
        assert output.startswith("HTTP/1.1 302 Found\r\n"), output
        response = await edge.get(url.strip())
        assert response.status == 302
        assert (await edge.get(response.location)).body.startswith(b"#EXTM3U")

        shell = await asyncio.create_subprocess_exec(
            "sh", "-c", sed.replace("deploy/", f"{ROOT}/deploy/"), cwd=tmp_path
        )
        assert await shell.wait() == 0
        text = (tmp_path / "nginx.conf").read_text()
        for documented, actual in (
            (":8080", start_command.player),
            (":8081", start_command.operator),
        ):
            text = text.replace(f"127.0.0.1{documented} ", f"127.0.0.1:{URL(actual).port} ")
        async with run_nginx_process(component("nginx"), tmp_path, text) as nginx:
            start_command.insert_table(WEB_TABLE.replace("https://play.example.com", nginx.origin))
            code, output = await wait_for_exit(
                start_command(doctor_with_ip.replace("ADDRESS", "93.184.216.34"))
            )
            statuses = re.findall(r"^(ok|warn|fail) +(\w+)", output, re.MULTILINE)
            assert code == 0, output
            assert {("ok", "public"), ("ok", "forwarding"), ("ok", "play")} <= set(statuses), output
            code, url = await wait_for_exit(start_command(mint))
            assert url.startswith(f"{nginx.origin}/play/{VIDEO}.m3u8?token=")
            assert (await edge.get(url.strip())).status == 302
            code, output = await wait_for_exit(start_command(embed))
            assert code == 0 and f"{nginx.origin}/play/{VIDEO}.m3u8?token=ey" in output
