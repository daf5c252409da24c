"""The snippets that `playgate embed` prints play on a page without changes."""

import pytest
from aiohttp import web
from players.conftest import MODULES, SCRIPTS, STATE, wait_until_playing
from playwright.async_api import Page
from processes import playgate, run_command
from support import SANDBOX_TOML, run_test_edge, serve_app, wait_until

FILES = {
    "/js/hls.min.js": SCRIPTS["/hls.js"],
    "/js/video.min.js": SCRIPTS["/video.js"],
    "/js/video-js.min.css": MODULES / "video.js" / "dist" / "video-js.min.css",
    "/js/shaka-player.compiled.js": SCRIPTS["/shaka.js"],
}


async def print_snippet(edge, name: str, video: str = "x8demo1") -> str:
    env = {"PLAYGATE_CONFIG": str(SANDBOX_TOML), "PLAYGATE_WEB__PUBLIC_URL": edge.player}
    command = playgate("embed", video, "--only", name, "--mint")
    code, output = await run_command(*command, env=env)
    assert code == 0, output
    return output


class Site:
    """A publisher's site: one page and the scripts of the players."""

    def __init__(self) -> None:
        self.page = ""

    def build_app(self) -> web.Application:
        async def index(_request: web.Request) -> web.Response:
            return web.Response(text=f"<!doctype html>{self.page}", content_type="text/html")

        async def script(request: web.Request) -> web.FileResponse:
            return web.FileResponse(FILES[request.path])

        app = web.Application()
        app.add_routes([web.get("/", index), *(web.get(path, script) for path in FILES)])
        return app


@pytest.fixture
async def site():
    site = Site()
    async with serve_app(site.build_app()) as origin:
        site.origin = origin.replace("127.0.0.1", "localhost")
        yield site


async def press_play(page: Page) -> None:
    """Press play as a viewer does, because browsers allow sound only after a user gesture."""
    button = page.locator(".vjs-big-play-button")
    if await button.count():
        await button.click()
        return
    await page.locator("video").focus()
    await page.keyboard.press("Space")


@pytest.mark.parametrize(
    ("name", "video"),
    [
        ("video", "x8demo1"),
        ("video", "x8live1"),
        ("mp4", "x8demo1"),
        ("hls.js", "x8demo1"),
        ("hls.js", "x8live1"),
        ("video.js", "x8demo1"),
        ("shaka", "x8demo1"),
    ],
)
async def test_a_printed_snippet_plays(edge, site, page, name, video):
    site.page = await print_snippet(edge, name, video)
    await page.goto(site.origin)
    await press_play(page)
    state = await wait_until_playing(page, seconds=2)

    assert state["error"] is None


@pytest.mark.parametrize("allowed", [True, False])
async def test_the_iframe_plays_only_on_sites_in_embed_origins(sandbox, site, page, allowed):
    origins = [site.origin] if allowed else ["https://www.example.com"]
    async with run_test_edge(sandbox, web={"embed_origins": origins}) as edge:
        site.page = await print_snippet(edge, "iframe", "x8live1")
        messages: list[str] = []
        page.on("console", lambda message: messages.append(message.text))
        await page.goto(site.origin)
        if not allowed:
            await wait_until(lambda: any("frame-ancestors" in text for text in messages))
            return
        frame = page.frames[1]
        await frame.wait_for_function(
            f"() => {{ const state = ({STATE})(); return state.error || state.played > 2; }}",
            timeout=90_000,
        )
        assert (await frame.evaluate(STATE))["error"] is None
        assert await frame.evaluate("() => innerHeight === video.clientHeight")


async def test_the_token_is_the_only_placeholder_in_the_snippets(edge):
    env = {"PLAYGATE_CONFIG": str(SANDBOX_TOML)}
    code, output = await run_command(*playgate("embed", "x8demo1"), env=env)

    assert code == 0
    assert "token=TOKEN" in output and "{" + "src}" not in output
    for name in (
        "video",
        "hls.js",
        "video.js",
        "shaka",
        "iframe",
        "mp4",
        "vlc",
        "exoplayer",
        "avplayer",
    ):
        assert f"# {name}: " in output
