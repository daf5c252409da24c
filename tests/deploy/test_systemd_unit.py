"""deploy/playgate@.service: the unit is sandboxed, and an edge runs within the sandbox."""

import ctypes
import re
import subprocess
import sys

import aiohttp
import pytest
from ports import free_port
from processes import playgate, run_process
from support import ROOT, SANDBOX_TOML, skip_or_fail, wait_until
from yarl import URL

from proxy.adapters.clock import Clock
from proxy.edge.token_minter import TokenMinter
from proxy.settings import load_settings

UNIT = ROOT / "deploy" / "playgate@.service"
MAX_EXPOSURE = 2.5


def test_the_unit_has_a_low_exposure_level(component):
    output = subprocess.run(
        [component("systemd-analyze"), "security", "--offline=true", "--no-pager", UNIT],
        check=False, capture_output=True, text=True,
    ).stdout  # fmt: skip  # the command on one line
    level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", output)
    assert level is not None, output
    assert float(level[1]) < MAX_EXPOSURE


def test_the_unit_is_valid(component, tmp_path):
    """Use an instance name and a program that exists on this machine."""
    unit = tmp_path / "playgate@8081.service"
    unit.write_text(UNIT.read_text().replace("/opt/playgate/bin/playgate", "/bin/true"))
    completed = subprocess.run(
        [component("systemd-analyze"), "verify", "--man=no", unit],
        check=False, capture_output=True, text=True,
    )  # fmt: skip  # the command on one line
    own_messages = [line for line in completed.stderr.splitlines() if "playgate" in line]
    assert (completed.returncode, own_messages) == (0, [])


@pytest.fixture
def seccomp_command(component) -> list:
    """Return the command prefix that applies the unit's system call filter."""
    component("systemd-analyze")
    try:
        ctypes.CDLL("libseccomp.so.2")
    except OSError:
        skip_or_fail("libseccomp is not installed")
    return [sys.executable, ROOT / "tests" / "seccomp_run.py", UNIT]


def test_the_seccomp_filter_blocks_packet_sockets(seccomp_command):
    """Without a working filter, the next test would prove nothing."""
    tries = "import os, socket\ntry:\n    socket.socket({})\n    print('allowed')\nexcept OSError:\n    print('blocked')"
    for family, outcome in (("socket.AF_INET", "allowed"), ("socket.AF_PACKET", "blocked")):
        output = subprocess.run(
            [*seccomp_command, sys.executable, "-c", tries.format(family)],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip  # the command on one line
        assert output == f"{outcome}\n"


async def test_an_edge_plays_reloads_and_stops_under_the_seccomp_filter(
    seccomp_command, sandbox, tmp_path, server
):
    """Covers Unix sockets, Redis, DNS lookups and threads."""
    player, operator = tmp_path / "8081" / "player.sock", free_port()
    player.parent.mkdir()
    config = tmp_path / "playgate.toml"
    origin = sandbox.origin.replace("127.0.0.1", "localhost")
    config.write_text(
        SANDBOX_TOML.read_text()
        .replace("http://127.0.0.1:8090", origin)
        .replace("127.0.0.1:8090", URL(sandbox.origin).authority)
    )
    env = {
        "PLAYGATE_WEB__LISTEN": f"unix:{player}",
        "PLAYGATE_OPERATOR__LISTEN": f"127.0.0.1:{operator}",
        "PLAYGATE_STATE__URL": server.url,
        "PLAYGATE_STATE__TIMEOUT": "5",
        "PLAYGATE_TOKENS__BIND_ON_FIRST_USE": "true",
        "PLAYGATE_DELIVERY__MODE": "validate",
    }
    async with run_process(
        *seccomp_command, *playgate("serve", "--config", config), env=env
    ) as edge:
        await edge.wait_for_output('"event": "serving"')

        async def is_ready() -> bool:
            ready = f"http://127.0.0.1:{operator}/readyz"
            async with aiohttp.ClientSession() as session, session.get(ready) as response:
                return response.status == 200

        await wait_until(is_ready)
        token = TokenMinter(load_settings(config), Clock()).mint(video="x8demo1").token
        connector = aiohttp.UnixConnector(str(player))
        async with aiohttp.ClientSession(connector=connector) as session:
            url = URL(f"http://edge/play/x8demo1.m3u8?token={token}")
            viewer = {"X-Forwarded-For": "127.0.0.9"}
            async with session.get(url, headers=viewer, allow_redirects=False) as response:
                assert response.status == 302, await response.text()
        config.write_text(config.read_text() + "\n# changed\n")
        await edge.wait_for_output('"event": "reloaded"')
        assert await edge.stop() == 0
        assert '"internal"' not in edge.output
    assert not player.exists()


def test_the_unit_uses_the_same_paths_as_nginx_and_the_docs():
    unit, nginx = UNIT.read_text(), (ROOT / "deploy" / "nginx.conf").read_text()
    scaling = (ROOT / "docs" / "scaling.md").read_text()
    socket = re.search(r"PLAYGATE_WEB__LISTEN=(unix:\S+)", unit)[1]
    for port in (8081, 8082, 8083):
        assert f"server {socket.replace('%i', str(port))} " in nginx
        assert f"server 127.0.0.1:{port} " in nginx
        assert f"server {socket.replace('%i', str(port))} backup " in nginx
        assert f"playgate@{port}" in unit and f"playgate@{port}" in scaling
    assert "user www-data;" in nginx and "usermod -aG playgate www-data" in unit and scaling
