"""Real players play through the edge's redirect, and the player page shows errors."""

import asyncio

import pytest
from players.conftest import (
    FRAMES_PER_SECOND,
    NATIVE,
    WITH_HLS_JS,
    serve_page,
    wait_until_playing,
)
from support import run_test_edge, wait_until

from proxy.sandbox.catalogue import VIDEOS
from proxy.sandbox.controls import Fault


async def decode_frames(program: str, url: str, seconds: int) -> tuple[int, str]:
    """Decode a URL with ffmpeg; return the number of frames and the error output."""
    process = await asyncio.create_subprocess_exec(
        program, "-v", "error", "-i", url, "-t", str(seconds), "-map", "0:v:0", "-f", "null", "-",
        "-progress", "pipe:1",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(90):
        out, err = await process.communicate()
    frames = [line for line in out.decode().splitlines() if line.startswith("frame=")]
    return int(frames[-1].removeprefix("frame=")) if frames else 0, err.decode()


@pytest.mark.smoke
@pytest.mark.parametrize(("video", "seconds"), [("x8demo1", 12), ("x8live1", 5)])
async def test_ffmpeg_decodes_every_frame(component, edge, video, seconds):
    frames, errors = await decode_frames(component("ffmpeg"), edge.play_url(video), seconds)

    assert frames == pytest.approx(seconds * FRAMES_PER_SECOND, abs=2), errors


async def test_ffmpeg_gets_the_status_of_a_refusal(component, edge):
    frames, errors = await decode_frames(component("ffmpeg"), edge.play_url(token="no"), 1)

    assert frames == 0
    assert "401" in errors


@pytest.mark.parametrize("html", [NATIVE, WITH_HLS_JS], ids=["native", "hls.js"])
@pytest.mark.parametrize("video", ["x8demo1", "x8live1"])
async def test_chromium_plays_on_a_page_of_another_origin(edge, page, html, video):
    async with serve_page(html, edge.play_url(video)) as url:
        await page.goto(url)
        state = await wait_until_playing(page, seconds=3)

    assert state["error"] is None and state["errors"] == []
    assert state["height"] in {180, 360}


async def test_hls_js_shows_the_subtitles(edge, page):
    async with serve_page(WITH_HLS_JS, edge.play_url()) as url:
        await page.goto(url)
        await wait_until_playing(page, seconds=1)
        await page.wait_for_function(
            "() => document.querySelector('video').textTracks[0]?.cues?.length"
        )
        cues = await page.evaluate(
            "() => [...document.querySelector('video').textTracks[0].cues].map(c => [c.startTime, c.text])"
        )

    assert cues[1] == [4, "plays for twelve seconds,"]


async def test_hls_js_can_read_a_refusal(edge, page):
    """Without CORS headers on errors, hls.js would see status 0 and no reason."""
    async with serve_page(WITH_HLS_JS, edge.play_url(token="no")) as url:
        await page.goto(url)
        await page.wait_for_function("() => window.errors.length > 0")

        assert await page.evaluate("() => window.errors[0]") == "manifestLoadError 401"


@pytest.mark.smoke
async def test_the_player_page_plays(edge, page):
    for query in ("", "?player=native"):
        await page.goto(f"{edge.player}/watch/x8demo1{query}#{edge.mint()}")
        state = await wait_until_playing(page, seconds=2)

        assert state["error"] is None
        assert not await page.locator("#message").is_visible()


@pytest.mark.parametrize("mode", ["redirect", "relay"])
@pytest.mark.parametrize("video", ["x8live1", "x8live2"])
async def test_the_player_page_starts_live_channels_reliably(sandbox, browser, video, mode):
    async with run_test_edge(sandbox, delivery={"mode": mode}) as edge:
        for _ in range(10):
            context = await browser.new_context()
            page = await context.new_page()
            await page.goto(f"{edge.player}/watch/{video}#{edge.mint(video)}")
            state = await wait_until_playing(page, seconds=0.5)

            assert state["error"] is None and await page.locator("#note").inner_text() == ""
            await context.close()


async def test_webkit_uses_its_native_player_for_airplay_and_fairplay(edge, page):
    await page.add_init_script("window.WebKitPlaybackTargetAvailabilityEvent = class {}")
    await page.goto(f"{edge.player}/watch/x8demo1#{edge.mint()}")
    await wait_until_playing(page, seconds=1)

    assert await page.evaluate("() => video.currentSrc") == edge.play_url(
        token=await page.evaluate("() => token")
    )


NO_MSE = "MediaSource.prototype.addSourceBuffer = () => { throw new Error('no decoder') };"
NO_NATIVE = """
  window.WebKitMediaKeys = class {};
  const {get, set} = Object.getOwnPropertyDescriptor(HTMLMediaElement.prototype, "src");
  Object.defineProperty(HTMLMediaElement.prototype, "src", {
    get, set(url) { set.call(this, url.startsWith("/play/") ? "data:video/mp4,broken" : url); },
  });
"""


@pytest.mark.parametrize(
    ("script", "error", "other_player"),
    [
        (NO_MSE, "hls.js: buffer", "the browser's own player"),
        (NO_NATIVE, "DEMUXER_ERROR_COULD_NOT_OPEN", "hls.js"),
    ],
    ids=["hls.js", "native"],
)
async def test_a_failed_player_is_replaced_once_by_the_other_player_and_the_page_reports_it(
    edge, page, script, error, other_player
):
    await page.add_init_script(script)
    await page.goto(f"{edge.player}/watch/x8demo1#{edge.mint()}")
    state = await wait_until_playing(page, seconds=1)

    assert state["error"] is None
    note = await page.locator("#note").inner_text()
    assert error in note and f"Trying again with {other_player}." in note


async def test_when_both_players_fail_the_page_shows_both_errors(edge, page):
    """The edge accepts the play and no request was refused, so the page blames no server."""
    await page.add_init_script(NO_MSE + NO_NATIVE.replace("window.WebKitMediaKeys = class {};", ""))
    await page.goto(f"{edge.player}/watch/x8demo1#{edge.mint()}")
    message = page.locator("#message", has_text="could not play the stream")
    await message.wait_for()
    text = await message.inner_text()

    assert "hls.js: buffer" in text and "native: " in text and "DEMUXER_ERROR" in text
    assert "refused" not in text and "address" not in text


@pytest.mark.parametrize(
    ("kind", "status"), [("playlist", 403), ("segment", 404), ("segment", 500)]
)
async def test_the_page_shows_the_status_of_a_refused_stream_request(
    sandbox, edge, page, *, kind, status
):
    sandbox.controls.set_fault(
        kind, Fault(status=status, headers=(("Access-Control-Allow-Origin", "*"),))
    )
    await page.goto(f"{edge.player}/watch/x8demo1#{edge.mint()}")
    message = page.locator("#message", has_text=f"refused the stream: HTTP {status}")
    await message.wait_for(timeout=90_000)

    text = await message.inner_text()
    assert sandbox.origin.removeprefix("http://") in text
    assert ("one address only" in text) is (status == 403)


@pytest.mark.parametrize("status", [403, 500])
async def test_in_relay_mode_the_page_shows_the_edges_reason(sandbox, page, status):
    async with run_test_edge(sandbox, delivery={"mode": "relay"}) as edge:
        sandbox.controls.set_fault("segment", Fault(status=status))
        await page.goto(f"{edge.player}/watch/x8demo1#{edge.mint()}")
        message = page.locator("#message", has_text="request ")
        await message.wait_for(timeout=90_000)
        text = await message.inner_text()

        line = next(entry for entry in edge.lines() if entry["request_id"] in text)
        assert line["route"] == "relayed-bytes" and line["reason"] in text
        assert "address" not in text


async def test_try_again_plays_after_an_outage(sandbox, edge, page):
    sandbox.controls.set_fault("video", Fault(status=500))
    await page.goto(f"{edge.player}/watch/x8demo1#{edge.mint()}")
    await page.locator("#message", has_text="cannot be reached").wait_for()
    sandbox.controls.set_fault("video", None)
    await page.get_by_role("button", name="Try again").click()

    assert (await wait_until_playing(page, seconds=1))["error"] is None


async def test_try_again_is_not_offered_if_it_cannot_help(edge, page):
    await page.goto(f"{edge.player}/watch/x8demo1#{edge.mint('x8live1')}")
    await page.locator("#message", has_text="not valid for this video").wait_for()

    assert await page.get_by_role("button").count() == 0


async def test_an_error_message_hides_the_poster(edge, page):
    await page.goto(f"{edge.player}/watch/x8offair#{edge.mint('x8offair')}")
    await page.locator("#message", has_text="off air").wait_for()
    await page.locator("h1:not(:empty)").wait_for()

    assert await page.evaluate("() => video.poster") == ""
    background = await page.evaluate("() => getComputedStyle(message).backgroundColor")
    assert background == "rgb(17, 17, 17)"  # opaque


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/", "not-found"),
        ("/play/x8demo1.m3u8", "token-missing"),
        ("/play/x8demo1.mp4?token=no", "token-malformed"),
        ("/watch/nothing", "video-not-found"),
        ("/elsewhere", "not-found"),
    ],
)
async def test_a_browser_gets_an_error_page(edge, page, path, reason):
    messages: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    response = await page.goto(f"{edge.player}{path}")

    text = await page.locator("body").inner_text()
    request_id = response.headers["x-request-id"]
    assert response.headers["x-deny-reason"] == reason
    assert reason in text and request_id in text and "{" not in text
    assert (
        await page.evaluate("() => getComputedStyle(document.querySelector('code')).overflowWrap")
        == "anywhere"
    )
    assert [text for text in messages if "Security Policy" in text] == []


@pytest.mark.parametrize("query", ["", "?player=native"])
@pytest.mark.parametrize(
    ("video", "reason", "sentence", "detail"),
    [
        ("x8null", "stream-unavailable", "no stream right now", "null, status processing"),
        ("x8geo", "video-geoblocked", "not available in your country", "HTTP 403"),
        ("x8private", "video-private", "is private", "video_private"),
        ("x8password", "video-password", "protected by a password", "password_protected"),
        ("x8offair", "live-off-air", "off air", "null, live and not onair"),
        ("x8forbidden", "platform-permission", "Contact the operator", "can-read-video-streams"),
        ("x8error", "platform-unreachable", "cannot be reached", "HTTP 500"),
    ],
)
async def test_an_error_shows_the_viewer_a_sentence_and_logs_the_reason(
    edge, page, *, video, reason, sentence, detail, query
):
    await page.goto(f"{edge.player}/watch/{video}{query}#{edge.mint(video)}")
    message = page.locator("#message", has_text="request ")
    await message.wait_for()
    text = await message.inner_text()
    line = next(entry for entry in edge.lines() if entry["request_id"] in text)

    assert sentence in text and reason in text
    assert (line["reason"], line["route"], line["video"]) == (reason, "play", video)
    assert detail in line["detail"]
    assert await page.evaluate("() => video.controls") is False


@pytest.mark.parametrize("width", [390, 1280])
async def test_the_player_page_shows_the_title_the_poster_and_the_live_mark(edge, page, width):
    await page.set_viewport_size({"width": width, "height": 800})
    for video, is_live in (("x8demo1", False), ("x8live1", True), ("x8offair", False)):
        await page.goto(f"{edge.player}/watch/{video}?at={width}#{edge.mint(video)}")
        await page.locator("h1:not(:empty)").wait_for()

        assert await page.title() == VIDEOS[video].title
        assert await page.locator("h1").inner_text() == VIDEOS[video].title
        assert await page.locator("#live").is_visible() is is_live
        poster = await page.evaluate("() => video.poster")
        assert video == "x8offair" or (await edge.get(poster)).status == 200
        box = await page.locator("#stage").bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width
        assert await page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


async def test_the_player_page_plays_without_video_details(sandbox, page):
    async with run_test_edge(sandbox, platform={"api": "v2"}) as edge:
        await page.goto(f"{edge.player}/watch/x8demo1#{edge.mint()}")

        assert (await wait_until_playing(page, seconds=1))["error"] is None


async def test_concurrent_requests_for_details_share_one_call(edge, sandbox):
    await edge.play()
    sandbox.controls.hold("video")
    before = sandbox.controls.calls["video"]
    token = {"Authorization": f"Bearer {edge.mint()}"}
    url = f"{edge.player}/watch/x8demo1/details"
    requests = [asyncio.create_task(edge.get(url, headers=token)) for _ in range(20)]
    await wait_until(lambda: sandbox.controls.waiting["video"])
    await asyncio.sleep(0)
    sandbox.controls.release("video")

    responses = await asyncio.gather(*requests)
    assert {response.status for response in responses} == {200}
    assert sandbox.controls.calls["video"] <= before + 2


async def test_details_need_a_token_and_omit_a_poster_on_another_host(edge, sandbox):
    url = f"{edge.player}/watch/x8demo1/details"
    assert (await edge.get(url)).reason == "token-missing"
    token = {"Authorization": f"Bearer {edge.mint()}"}
    response = await edge.get(url, headers=token)
    assert response.json == {
        "title": VIDEOS["x8demo1"].title,
        "poster": f"{sandbox.origin}/thumbnail/x8demo1.svg",
        "live": False,
    }
    body = '{"title": 7, "thumbnail_url": "https://evil.example/p.jpg", "mode": "live"}'
    sandbox.controls.set_fault("video", Fault(status=200, body=body))
    token = {"Authorization": f"Bearer {edge.mint('x8live1')}"}  # not cached yet
    response = await edge.get(f"{edge.player}/watch/x8live1/details", headers=token)
    assert response.json == {"title": "", "poster": None, "live": False}


async def test_the_player_page_needs_a_token_and_mints_none(edge, page, sandbox):
    await page.goto(f"{edge.player}/watch/x8demo1")
    message = page.locator("#message")
    await message.wait_for()

    assert "needs a token" in await message.inner_text()
    assert "eyJ" not in await page.content()
    assert sandbox.controls.calls["video"] == 0


async def test_the_player_page_complies_with_its_csp_and_sends_no_referrer(edge, page):
    messages: list[str] = []
    referrers: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("request", lambda request: referrers.append(request.headers.get("referer", "")))
    await page.goto(f"{edge.player}/watch/x8demo1#{edge.mint()}")
    await wait_until_playing(page, seconds=1)

    assert [text for text in messages if "Content Security Policy" in text] == []
    assert [text for text in referrers if "watch" in text] == []
    response = await edge.get(f"{edge.player}/watch/x8demo1")
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and " * " not in policy
