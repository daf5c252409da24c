"""Real players: ffmpeg, and Debian's Chromium driven by playwright."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from playwright.async_api import Browser, Page, async_playwright
from support import ROOT

HLS_JS = ROOT / "proxy" / "web" / "player" / "hls.min.js"
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
]  # fmt: skip

# The least that a web developer writes.
NATIVE = "<!doctype html><video src='{src}' autoplay muted playsinline></video>"
WITH_HLS_JS = """<!doctype html><video autoplay muted playsinline></video>
<script src="/hls.js"></script>
<script>
  window.errors = [];
  const hls = new Hls();
  // Only what ends playback: a stall on a busy machine is told here too, and passes.
  hls.on(Hls.Events.ERROR, (_, data) => data.fatal && errors.push(`${data.details} ${data.response?.code ?? ""}`));
  hls.loadSource("{src}");
  hls.attachMedia(document.querySelector("video"));
</script>"""

STATE = """() => {
  const video = document.querySelector("video");
  return {
    time: video.currentTime, ended: video.ended, error: video.error && video.error.message,
    frames: video.getVideoPlaybackQuality().totalVideoFrames, height: video.videoHeight,
    tracks: video.textTracks.length, errors: window.errors || [],
  };
}"""


@pytest.fixture
async def browser(component: Callable[[str], str]) -> AsyncIterator[Browser]:
    program = component("chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        await browser.close()


@pytest.fixture
async def page(browser: Browser) -> Page:
    return await browser.new_page()


@asynccontextmanager
async def a_page_elsewhere(html: str, src: str) -> AsyncIterator[str]:
    """Serve a page on an origin of its own."""

    async def index(_request: web.Request) -> web.Response:
        return web.Response(text=html.replace("{src}", src), content_type="text/html")

    async def hls_js(_request: web.Request) -> web.FileResponse:
        return web.FileResponse(HLS_JS)

    app = web.Application()
    app.add_routes([web.get("/", index), web.get("/hls.js", hls_js)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://localhost:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


async def playing(page: Page, *, seconds: float) -> dict[str, object]:
    """Wait until the page's video has played for so long, and return its state."""
    await page.wait_for_function(
        f"""() => {{
          const video = document.querySelector("video");
          window.first ??= video.currentTime || undefined;
          return video.error || (window.first && video.currentTime - window.first > {seconds});
        }}""",
        timeout=60_000,
    )
    state: dict[str, object] = await page.evaluate(STATE)
    return state
