"""The wheel is complete: the demo runs from it in an empty environment."""

import asyncio
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import aiohttp
import pytest
from ports import free_port
from processes import run_process
from support import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Build a wheel from the sdist, like a release."""
    folder = tmp_path_factory.mktemp("dist")
    completed = subprocess.run(
        [sys.executable, "-m", "build", "--outdir", folder, ROOT],
        env={**os.environ, "PIP_CONSTRAINT": str(ROOT / "constraints.txt")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert completed.returncode == 0, completed.stdout[-3000:] + completed.stderr[-3000:]
    return next(folder.glob("*.whl"))


def test_the_wheel_contains_the_files_of_the_demo_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())

    assert {
        "proxy/config/sandbox.toml", "proxy/config/playgate.toml", "proxy/web/player/hls.min.js",
        "proxy/web/player/hls.LICENSE", "proxy/web/player/watch.html",
        "proxy/sandbox/media/vod_180/0.ts", "proxy/sandbox/media/live_180/5.ts",
    } <= names  # fmt: skip
    assert [name for name in names if not name.startswith(("proxy/", "playgate-"))] == []
    assert [name for name in names if "node_modules" in name or "test" in name] == []


async def test_the_demo_runs_from_the_wheel(wheel, tmp_path):
    environment = tmp_path / "venv"

    def install() -> None:
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        subprocess.run(
            [environment / "bin/pip", "install", "--quiet", "--disable-pip-version-check",
             "--constraint", ROOT / "constraints.txt", wheel],
            check=True,
        )  # fmt: skip

    await asyncio.to_thread(install)
    port = free_port()
    command = [
        environment / "bin/playgate",
        "demo",
        f"--port={port}",
        f"--operator-port={free_port()}",
        f"--sandbox-port={free_port()}",
    ]
    async with run_process(*command, cwd=tmp_path) as demo, aiohttp.ClientSession() as session:
        text = await demo.wait_for_output("Ctrl-C stops it")
        url = next(word for word in text.split() if word.startswith("http") and "token=" in word)
        async with session.get(url) as response:
            assert (await response.text()).startswith("#EXTM3U")
        for name in ("hls.min.js", "watch.js"):
            async with session.get(f"http://127.0.0.1:{port}/watch/assets/{name}") as response:
                assert response.status == 200
        assert await demo.stop(signal.SIGINT) == 0
