"""Play a URL in a real player, and find out whether it plays."""

import asyncio
import re
import shutil
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from players.conftest import NATIVE, STATE, WITH_HLS_JS, WITH_SHAKA, WITH_VIDEO_JS, serve_page
from playwright.async_api import Browser, Request
from playwright.async_api import TimeoutError as PlaywrightTimeout

MIN_FRAMES = 25  # one second of a sandbox video
PAGES = {
    "hls.js": WITH_HLS_JS,
    "Shaka": WITH_SHAKA,
    "video.js": WITH_VIDEO_JS,
    "Chromium": NATIVE,
}
# Lets hls.js and Shaka add CMCD to every URL, or as headers.
CMCD = {
    "query": {
        "new Hls()": "new Hls({cmcd: {}})",
        "new shaka.Player()": "new shaka.Player(); player.configure({cmcd: {enabled: true}})",
    },
    "headers": {
        "new Hls()": "new Hls({cmcd: {useHeaders: true}})",
        "new shaka.Player()": "new shaka.Player(); player.configure({cmcd: {enabled: true, useHeaders: true}})",
    },
}

# Plays a URL within a number of seconds; returns why it does not play, or an empty text.
Player = Callable[[str, float], Awaitable[str]]


def build_players(browser: Browser, *, cmcd: str = "") -> dict[str, Player]:
    """Return every player by name."""

    def in_browser(html: str) -> Player:
        for old, new in CMCD.get(cmcd, {}).items():
            html = html.replace(old, new)
        return lambda url, seconds: play_in_browser(browser, html, url, seconds)

    return {
        **{name: in_browser(html) for name, html in PAGES.items()},
        "ffmpeg": play_with_ffmpeg,
        "streamlink": play_with_streamlink,
    }


async def play_in_browser(
    browser: Browser,
    html: str,
    url: str,
    seconds: float,
    *,
    on_request: Callable[[Request], None] = lambda _request: None,
) -> str:
    async with serve_page(html, url) as page_url:
        context = await browser.new_context()
        page = await context.new_page()
        page.on("request", on_request)
        try:
            await page.goto(page_url)
            await page.wait_for_function(
                f"""() => {{
                  const {{error, errors, played, frames}} = ({STATE})();
                  return error || errors.length || (played > 0.5 && frames >= {MIN_FRAMES});
                }}""",
                timeout=seconds * 1000,
            )
            state = await page.evaluate(STATE)
            return str(state["error"] or "") or "; ".join(map(str, state["errors"]))
        except PlaywrightTimeout:
            return f"no picture after {seconds:g} s"
        finally:
            await context.close()


async def play_with_ffmpeg(url: str, seconds: float) -> str:
    command = ["ffmpeg", "-v", "error", "-i", url, "-t", "2", "-map", "0:v:0", "-f", "null", "-"]
    return await count_frames(command, b"", seconds)


async def play_with_streamlink(url: str, seconds: float) -> str:
    program = shutil.which("streamlink", path=Path(sys.executable).parent) or "streamlink"
    command = [program, "--no-config", "--stream-segmented-duration", "2", "--stdout", f"hls://{url}", "best"]  # fmt: skip
    recorded, log = await run(command, b"", seconds)
    decode = ["ffmpeg", "-v", "error", "-i", "-", "-map", "0:v:0", "-f", "null", "-"]
    failure = await count_frames(decode, recorded, seconds)
    return failure and (log.decode(errors="replace")[-300:] or failure)


async def count_frames(command: list[str], data: bytes, seconds: float) -> str:
    """Run ffmpeg; return an empty text if it decodes enough frames, else its messages."""
    output, log = await run([*command, "-progress", "pipe:1"], data, seconds)
    frames = re.findall(rb"frame=(\d+)", output)
    is_playing = frames and int(frames[-1]) >= MIN_FRAMES
    return "" if is_playing else log.decode(errors="replace")[-300:] or "no frames"


async def run(command: list[str], data: bytes, seconds: float) -> tuple[bytes, bytes]:
    """Run a command for a limited time; return its output and its error output."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(seconds):
            return await process.communicate(data)
    except TimeoutError:
        process.kill()
        await process.wait()
        return b"", f"no result after {seconds:g} s".encode()
