"""Every player plays the VOD and the live channel in every mode."""

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest
from players.conftest import (
    FRAMES_PER_SECOND,
    NATIVE,
    SCRIPTS,
    WITH_HLS_JS,
    WITH_SHAKA,
    WITH_VIDEO_JS,
    a_page_elsewhere,
    playing,
)
from players.test_players import frames_of
from support import an_edge, eventually, skip_or_fail

PAGES = {
    "native": (NATIVE, None), "hls.js": (WITH_HLS_JS, "/hls.js"),
    "shaka": (WITH_SHAKA, "/shaka.js"), "video.js": (WITH_VIDEO_JS, "/video.js"),
}  # fmt: skip


@pytest.fixture(params=["redirect", "validate", "relay"])
async def edge(request, sandbox):
    async with an_edge(sandbox, delivery={"mode": request.param}) as running:
        yield running


@pytest.mark.parametrize("player", PAGES)
@pytest.mark.parametrize("video", ["x8demo1", "x8live1"])
async def test_in_chromium(edge, page, player, video):
    html, script = PAGES[player]
    if script is not None and not SCRIPTS[script].exists():
        skip_or_fail("npm ci was not run in npm/")
    async with a_page_elsewhere(html, edge.play_url(video)) as url:
        await page.goto(url)
        state = await playing(page, seconds=3)

    assert state["error"] is None and state["errors"] == []


@pytest.mark.parametrize("video", ["x8keys1", "x8fmp41", "x8live2"])
@pytest.mark.parametrize("player", ["native", "hls.js"])
async def test_keys_initialization_sections_and_blocking_reloads_in_chromium(
    edge, page, player, video
):
    async with a_page_elsewhere(PAGES[player][0], edge.play_url(video)) as url:
        await page.goto(url)
        state = await playing(page, seconds=3)

    assert state["error"] is None and state["errors"] == []


@pytest.mark.parametrize(
    ("video", "seconds"), [("x8demo1", 12), ("x8live1", 5), ("x8keys1", 12), ("x8fmp41", 12)]
)
async def test_ffmpeg(edge, component, video, seconds):
    frames, complaints = await frames_of(component("ffmpeg"), edge.play_url(video), seconds)

    assert frames == pytest.approx(seconds * FRAMES_PER_SECOND, abs=2), complaints


ENOUGH = 200_000  # bytes: five seconds of the VOD, twelve of the live channel


async def recorded(command: list[str], file: Path, ffmpeg: str) -> tuple[int, str]:
    """Run a player that writes to its standard output; return how many frames came, and its log."""
    with file.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=asyncio.subprocess.PIPE
        )  # fmt: skip
    reading = asyncio.create_task(process.communicate())
    try:
        # VLC does not always end by itself on a live channel, whatever --run-time says.
        await eventually(lambda: reading.done() or file.stat().st_size >= ENOUGH, 120)
    finally:
        if process.returncode is None:
            process.kill()
        _, log = await reading
    frames, _ = await frames_of(ffmpeg, str(file), 60)
    return frames, log.decode(errors="replace")


@pytest.mark.parametrize("video", ["x8demo1", "x8live1"])
async def test_vlc(edge, component, tmp_path, video):
    as_nobody = []
    if os.geteuid() == 0:  # VLC refuses to run as root
        as_nobody = [component("setpriv"), "--reuid=65534", "--regid=65534", "--clear-groups"]
    command = [
        *as_nobody, component("vlc"), "-I", "dummy", "--no-video-title-show", "--play-and-exit", "--run-time=5",
        "--sout=#std{access=file,mux=ts,dst=-}", edge.play_url(video), "vlc://quit",
    ]  # fmt: skip
    frames, log = await recorded(command, tmp_path / "recorded.ts", component("ffmpeg"))

    assert frames >= 3 * FRAMES_PER_SECOND, log


@pytest.mark.parametrize("video", ["x8demo1", "x8live1"])
async def test_streamlink(edge, component, tmp_path, video):
    program = shutil.which("streamlink", path=Path(sys.executable).parent)
    command = [
        program or component("streamlink"), "--no-config", "--stream-segmented-duration", "6", "--stdout",
        f"hls://{edge.play_url(video)}", "best",
    ]  # fmt: skip
    frames, log = await recorded(command, tmp_path / "recorded.ts", component("ffmpeg"))

    assert frames >= 3 * FRAMES_PER_SECOND, log
