"""The steps of docs/quickstart.md, with the sandbox instead of Dailymotion."""

import json
import re
from collections.abc import Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from documentation import read_code_blocks, run_script
from nginx_server import run_nginx_process
from ports import free_port
from processes import build_edge_environment, playgate, run_process
from support import ROOT

PAGE = (ROOT / "docs" / "quickstart.md").read_text()
SETTINGS, VIEWER_TABLE, WEB_TABLE = read_code_blocks(PAGE, "toml")
COMMANDS = [
    line
    for block in read_code_blocks(PAGE, "sh")
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


@dataclass(frozen=True)
class Reader:
    """Follows the page in a folder, with free ports and the sandbox instead of Dailymotion."""

    folder: Path
    env: Mapping[str, str]
    ports: Mapping[str, int]  # the port to use, by the port that the page names

    def use_ports(self, text: str) -> str:
        for documented, port in self.ports.items():
            text = text.replace(f":{documented}", f":{port}")
        return text

    async def run(self, command: str, **variables: str) -> str:
        script = self.use_ports(command.replace("ID", VIDEO))
        return await run_script(script, self.folder, env={**self.env, **variables})

    @asynccontextmanager
    async def run_edge(self, command: str):
        program, *arguments = command.split()
        assert program == "playgate"
        async with run_process(*playgate(*arguments), env=self.env, cwd=self.folder) as process:
            await process.wait_for_output('"event": "serving"')
            yield

    def insert_table(self, table: str) -> None:
        """Put a table above [operator], as the page says."""
        file = self.folder / "playgate.toml"
        file.write_text(file.read_text().replace("[operator]", table + "\n[operator]"))


@pytest.fixture
async def reader(sandbox, tmp_path, component):
    component("openssl")
    keys = iter(["sandbox", "sandbox-secret"])
    lines = []
    for line in SETTINGS.splitlines():
        setting = line.strip()
        if '"…"' in setting:
            command = re.search(r"# (openssl rand -hex \d+)", setting)
            value = await run_script(command[1], tmp_path) if command else next(keys)
            setting = setting.replace("…", value.strip())
        lines.append(setting)
    (tmp_path / "playgate.toml").write_text("\n".join(lines))
    ports = {"8080": free_port(), "8081": free_port()}
    env = {
        **build_edge_environment(sandbox),
        "PLAYGATE_SANDBOX": "true",
        "PLAYGATE_WEB__LISTEN": f"127.0.0.1:{ports['8080']}",
        "PLAYGATE_OPERATOR__LISTEN": f"127.0.0.1:{ports['8081']}",
        "PLAYGATE_DELIVERY__CDN_FAMILIES": '["ipv4"]',
    }
    return Reader(tmp_path, env, ports)


def read_statuses(doctor_output: str) -> list[tuple[str, str]]:
    return re.findall(r"^(ok|warn|fail) +(\w+)", doctor_output, re.MULTILINE)


async def test_following_the_page_leads_to_a_playing_video(reader, edge, component, tmp_path):
    check_config, doctor, serve, readyz, play, sed, doctor_with_ip, mint, embed = COMMANDS
    assert "error" not in await reader.run(check_config)
    statuses = read_statuses(await reader.run(doctor))
    assert [check for status, check in statuses if status != "ok"] == ["edge", "play", "public"]
    assert ("ok", "credentials") in statuses and ("ok", "stream") in statuses

    async with reader.run_edge(serve):
        assert json.loads(await reader.run(readyz))["status"] == "ready"
        public_url = reader.use_ports("http://127.0.0.1:8080")
        url = await reader.run(mint, PLAYGATE_WEB__PUBLIC_URL=public_url)
        assert (await edge.get(url.strip())).reason == "viewer-private"
    reader.insert_table(VIEWER_TABLE)
    async with reader.run_edge(serve):
        output = await reader.run(play)
        assert output.startswith("HTTP/1.1 302 Found\r\n"), output
        response = await edge.get(url.strip())
        assert response.status == 302
        assert (await edge.get(response.location)).body.startswith(b"#EXTM3U")

        await reader.run(sed.replace("deploy/", f"{ROOT}/deploy/"))
        text = reader.use_ports((tmp_path / "nginx.conf").read_text())
        async with run_nginx_process(component("nginx"), tmp_path, text) as nginx:
            reader.insert_table(WEB_TABLE.replace("https://play.example.com", nginx.origin))
            output = await reader.run(doctor_with_ip.replace("ADDRESS", "93.184.216.34"))
            assert {("ok", "public"), ("ok", "forwarding"), ("ok", "play")} <= set(
                read_statuses(output)
            ), output
            url = await reader.run(mint)
            assert url.startswith(f"{nginx.origin}/play/{VIDEO}.m3u8?token=")
            assert (await edge.get(url.strip())).status == 302
            assert f"{nginx.origin}/play/{VIDEO}.m3u8?token=ey" in await reader.run(embed)
