"""Every player plays the VOD and the live channel in every delivery mode."""

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
    serve_page,
    wait_until_playing,
)
from players.test_players import decode_frames
from support import run_test_edge, skip_or_fail, wait_until

PAGES = {
    "native": (NATIVE, None), "hls.js": (WITH_HLS_JS, "/hls.js"),
    "shaka": (WITH_SHAKA, "/shaka.js"), "video.js": (WITH_VIDEO_JS, "/video.js"),
}  # fmt: skip


@pytest.fixture(params=["redirect", "validate", "relay"])
async def edge(request, sandbox):
    async with run_test_edge(sandbox, delivery={"mode": request.param}) as running:
        yield running


@pytest.mark.parametrize("player", PAGES)
@pytest.mark.parametrize("video", ["x8demo1", "x8live1"])
async def test_chromium_plays(edge, page, player, video):
    html, script = PAGES[player]
    if script is not None and not SCRIPTS[script].exists():
        skip_or_fail("npm ci was not run in npm/")
    async with serve_page(html, edge.play_url(video)) as url:
        await page.goto(url)
        state = await wait_until_playing(page, seconds=3)

    assert state["error"] is None and state["errors"] == []


@pytest.mark.parametrize("video", ["x8keys1", "x8fmp41", "x8live2"])
@pytest.mark.parametrize("player", ["native", "hls.js"])
async def test_chromium_plays_encrypted_and_fmp4_videos_and_blocking_reloads(
    edge, page, player, video
):
    async with serve_page(PAGES[player][0], edge.play_url(video)) as url:
        await page.goto(url)
        state = await wait_until_playing(page, seconds=3)

    assert state["error"] is None and state["errors"] == []


@pytest.mark.parametrize(
    ("video", "seconds"), [("x8demo1", 12), ("x8live1", 5), ("x8keys1", 12), ("x8fmp41", 12)]
)
async def test_ffmpeg_decodes_every_frame(edge, component, video, seconds):
    frames, errors = await decode_frames(component("ffmpeg"), edge.play_url(video), seconds)

    assert frames == pytest.approx(seconds * FRAMES_PER_SECOND, abs=2), errors


MIN_RECORDED_BYTES = {"x8demo1": 200_000, "x8live1": 85_000}  # about five seconds of each


async def record(command: list[str], file: Path, ffmpeg: str, min_bytes: int) -> tuple[int, str]:
    """Record a player's standard output until it exits or has written *min_bytes*.

    Return the number of recorded frames, and the player's log.
    """
    with file.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=asyncio.subprocess.PIPE
        )  # fmt: skip
    exit_task = asyncio.create_task(process.communicate())
    try:
        await wait_until(lambda: exit_task.done() or file.stat().st_size >= min_bytes, 120)
    finally:
        if process.returncode is None:
            process.kill()
        _, log = await exit_task
    frames, _ = await decode_frames(ffmpeg, str(file), 60)
    return frames, log.decode(errors="replace")


@pytest.mark.parametrize("video", ["x8demo1", "x8live1"])
async def test_vlc_plays(edge, component, tmp_path, video):
    as_nobody = []
    if os.geteuid() == 0:  # VLC refuses to run as root
        as_nobody = [component("setpriv"), "--reuid=65534", "--regid=65534", "--clear-groups"]
    command = [
        *as_nobody, component("vlc"), "-I", "dummy", "--no-video-title-show", "--play-and-exit",
        "--sout=#std{access=file,mux=ts,dst=-}", edge.play_url(video), "vlc://quit",
    ]  # fmt: skip
    frames, log = await record(
        command, tmp_path / "recorded.ts", component("ffmpeg"), MIN_RECORDED_BYTES[video]
    )

    assert frames >= 3 * FRAMES_PER_SECOND, log


@pytest.mark.parametrize("video", ["x8demo1", "x8live1"])
async def test_streamlink_plays(edge, component, tmp_path, video):
    program = shutil.which("streamlink", path=Path(sys.executable).parent)
    command = [
        program or component("streamlink"), "--no-config", "--stream-segmented-duration", "6", "--stdout",
        f"hls://{edge.play_url(video)}", "best",
    ]  # fmt: skip
    frames, log = await record(
        command, tmp_path / "recorded.ts", component("ffmpeg"), MIN_RECORDED_BYTES[video]
    )

    assert frames >= 3 * FRAMES_PER_SECOND, log
