"""Pages for real players in Debian's Chromium, which playwright controls."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from playwright.async_api import Page
from playwright.async_api import TimeoutError as PlaywrightTimeout
from support import ROOT, serve_app

FRAMES_PER_SECOND = 25  # of every video in the sandbox
MODULES = ROOT / "npm" / "node_modules"
SCRIPTS = {
    "/hls.js": ROOT / "proxy" / "web" / "player" / "hls.min.js",
    "/shaka.js": MODULES / "shaka-player" / "dist" / "shaka-player.compiled.js",
    "/video.js": MODULES / "video.js" / "dist" / "video.min.js",
}
# The minimal page of a web developer. Playback starts before loading, because a live channel that
# Chromium loads while paused often fails to start (docs/playing.md).
NATIVE = """<!doctype html><video src="{src}" preload="none" muted playsinline></video>
<script>document.querySelector("video").play()</script>"""
WITH_HLS_JS = """<!doctype html><video autoplay muted playsinline></video>
<script src="/hls.js"></script>
<script>
  window.errors = [];
  const hls = new Hls();
  // Only fatal errors: on a busy machine hls.js also reports stalls, which pass.
  hls.on(Hls.Events.ERROR, (_, data) => data.fatal && errors.push(`${data.details} ${data.response?.code ?? ""}`));
  hls.loadSource("{src}");
  hls.attachMedia(document.querySelector("video"));
</script>"""

WITH_SHAKA = """<!doctype html><video autoplay muted playsinline></video>
<script src="/shaka.js"></script>
<script>
  window.errors = [];
  const player = new shaka.Player();
  const fail = error => errors.push(`shaka ${error.code} ${error.data}`);
  player.addEventListener("error", event => event.detail.severity === 2 && fail(event.detail));
  player.attach(document.querySelector("video")).then(() => player.load("{src}")).catch(fail);
</script>"""
WITH_VIDEO_JS = """<!doctype html><video autoplay muted playsinline></video>
<script src="/video.js"></script>
<script>
  window.errors = [];
  const player = videojs(document.querySelector("video"), {html5: {vhs: {overrideNative: true}}});
  player.on("error", () => errors.push(player.error().message));
  player.src({src: "{src}", type: "application/x-mpegURL"});
</script>"""

STATE = """() => {
  const video = document.querySelector("video");
  return {
    played: [...Array(video.played.length).keys()].reduce(
      (sum, i) => sum + video.played.end(i) - video.played.start(i), 0),
    time: video.currentTime, ended: video.ended, error: video.error && video.error.message,
    frames: video.getVideoPlaybackQuality().totalVideoFrames, height: video.videoHeight,
    tracks: video.textTracks.length, errors: window.errors || [],
  };
}"""


@asynccontextmanager
async def serve_page(html: str, src: str) -> AsyncIterator[str]:
    """Serve a player page on an origin that differs from the edge's."""

    async def index(_request: web.Request) -> web.Response:
        return web.Response(text=html.replace("{src}", src), content_type="text/html")

    async def script(request: web.Request) -> web.FileResponse:
        return web.FileResponse(SCRIPTS[request.path])

    app = web.Application()
    app.add_routes([web.get("/", index), *(web.get(path, script) for path in SCRIPTS)])
    async with serve_app(app) as origin:
        yield f"{origin.replace('127.0.0.1', 'localhost')}/"


async def wait_until_playing(page: Page, *, seconds: float) -> dict[str, object]:
    """Wait until the page's video has played for `seconds` and has shown frames; return its state.

    The played ranges count, not `currentTime`, which also moves when a player jumps to the live edge.
    """
    try:
        await page.wait_for_function(
            f"""() => {{
              const {{error, errors, played, frames}} = ({STATE})();
              return error || errors.length || (played > {seconds} && frames > {FRAMES_PER_SECOND});
            }}""",
            timeout=90_000,
        )
    except PlaywrightTimeout:
        pytest.fail(f"The video did not play for {seconds} s: {await page.evaluate(STATE)}")
    state: dict[str, object] = await page.evaluate(STATE)
    return state
