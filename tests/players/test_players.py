"""Players play: frames are shown and time goes on, through the redirect, from another origin."""

from __future__ import annotations

import asyncio

import pytest
from players.conftest import (
    FRAMES_PER_SECOND,
    NATIVE,
    WITH_HLS_JS,
    a_page_elsewhere,
    playing,
)
from support import an_edge, eventually

from proxy.sandbox.catalogue import VIDEOS
from proxy.sandbox.controls import Fault


async def frames_of(program: str, url: str, seconds: int) -> tuple[int, str]:
    """Decode with ffmpeg; return how many frames came out, and what it complained of."""
    process = await asyncio.create_subprocess_exec(
        program, "-v", "error", "-i", url, "-t", str(seconds), "-map", "0:v:0", "-f", "null", "-",
        "-progress", "pipe:1",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(90):
        out, err = await process.communicate()
    frames = [line for line in out.decode().splitlines() if line.startswith("frame=")]
    return int(frames[-1].removeprefix("frame=")) if frames else 0, err.decode()


@pytest.mark.parametrize(("video", "seconds"), [("x8demo1", 12), ("x8live1", 5)])
async def test_ffmpeg_decodes_every_frame(component, edge, video, seconds):
    frames, complaints = await frames_of(component("ffmpeg"), edge.play_url(video), seconds)

    assert frames == pytest.approx(seconds * FRAMES_PER_SECOND, abs=2), complaints


async def test_ffmpeg_gets_the_status_of_a_refusal(component, edge):
    frames, complaints = await frames_of(component("ffmpeg"), edge.play_url(token="no"), 1)

    assert frames == 0
    assert "401" in complaints


@pytest.mark.parametrize("html", [NATIVE, WITH_HLS_JS], ids=["native", "hls.js"])
@pytest.mark.parametrize("video", ["x8demo1", "x8live1"])
async def test_chromium_plays_on_a_page_of_another_origin(edge, page, html, video):
    async with a_page_elsewhere(html, edge.play_url(video)) as url:
        await page.goto(url)
        state = await playing(page, seconds=3)

    assert state["error"] is None and state["errors"] == []
    assert state["height"] in {180, 360}


async def test_the_subtitles_come_along(edge, page):
    async with a_page_elsewhere(WITH_HLS_JS, edge.play_url()) as url:
        await page.goto(url)
        await playing(page, seconds=1)
        await page.wait_for_function(
            "() => document.querySelector('video').textTracks[0]?.cues?.length"
        )
        cues = await page.evaluate(
            "() => [...document.querySelector('video').textTracks[0].cues].map(c => [c.startTime, c.text])"
        )

    assert cues[1] == [4, "plays for twelve seconds,"]


async def test_hls_js_can_read_a_refusal(edge, page):
    """Without CORS headers on errors it would see status 0, and nobody would know why."""
    async with a_page_elsewhere(WITH_HLS_JS, edge.play_url(token="no")) as url:
        await page.goto(url)
        await page.wait_for_function("() => window.errors.length > 0")

        assert await page.evaluate("() => window.errors[0]") == "manifestLoadError 401"


async def test_the_player_page_plays(edge, page):
    for query in ("", "?hls.js"):
        await page.goto(f"{edge.player}/watch/x8demo1{query}#{edge.mint()}")
        state = await playing(page, seconds=2)

        assert state["error"] is None
        assert not await page.locator("#message").is_visible()


@pytest.mark.parametrize("query", ["", "?hls.js"])
@pytest.mark.parametrize(
    ("video", "reason", "sentence", "detail"),
    [
        ("x8null", "stream-unavailable", "no stream right now", "null, status processing"),
        ("x8geo", "video-geoblocked", "not available in your country", "HTTP 403"),
        ("x8private", "video-private", "is private", "video_private"),
        ("x8password", "video-password", "protected by a password", "password_protected"),
        ("x8offair", "live-off-air", "off air", "null, live and not onair"),
        ("x8forbidden", "platform-permission", "operator has to act", "can-read-video-streams"),
        ("x8error", "platform-unreachable", "cannot be reached", "HTTP 500"),
    ],
)
async def test_the_viewer_reads_a_sentence_and_the_operator_a_reason(
    edge, page, *, video, reason, sentence, detail, query
):
    await page.goto(f"{edge.player}/watch/{video}{query}#{edge.mint(video)}")
    message = page.locator("#message", has_text="request ")
    await message.wait_for()
    text = await message.inner_text()
    line = next(it for it in edge.lines() if it["request_id"] in text)

    assert sentence in text and reason in text
    assert (line["reason"], line["route"], line["video"]) == (reason, "play", video)
    assert detail in line["detail"]
    assert await page.evaluate("() => video.controls") is False


@pytest.mark.parametrize("width", [390, 1280])
async def test_the_player_page_says_what_it_plays(edge, page, width):
    await page.set_viewport_size({"width": width, "height": 800})
    for video, is_live in (("x8demo1", False), ("x8live1", True), ("x8offair", False)):
        await page.goto(f"{edge.player}/watch/{video}?at={width}#{edge.mint(video)}")
        await page.locator("h1:not(:empty)").wait_for()

        assert await page.title() == VIDEOS[video].title
        assert await page.locator("h1").inner_text() == VIDEOS[video].title
        assert await page.locator("#live").is_visible() is is_live
        poster = await page.evaluate("() => video.poster")
        assert (await edge.get(poster)).status == 200
        box = await page.locator("#stage").bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width
        assert await page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


async def test_without_details_the_page_plays_all_the_same(sandbox, page):
    async with an_edge(sandbox, platform={"api": "v2"}) as edge:
        await page.goto(f"{edge.player}/watch/x8demo1#{edge.mint()}")

        assert (await playing(page, seconds=1))["error"] is None


async def test_details_of_one_video_are_one_call(edge, sandbox):
    await edge.play()
    sandbox.controls.hold("video")
    before = sandbox.controls.calls["video"]
    token = {"Authorization": f"Bearer {edge.mint()}"}
    url = f"{edge.player}/watch/x8demo1/details"
    asking = [asyncio.create_task(edge.get(url, headers=token)) for _ in range(20)]
    await eventually(lambda: sandbox.controls.waiting["video"])
    await asyncio.sleep(0)
    sandbox.controls.release("video")

    assert {answer.status for answer in await asyncio.gather(*asking)} == {200}
    assert sandbox.controls.calls["video"] <= before + 2


async def test_details_need_a_token_and_have_no_poster_from_elsewhere(edge, sandbox):
    url = f"{edge.player}/watch/x8demo1/details"
    assert (await edge.get(url)).reason == "token-missing"
    token = {"Authorization": f"Bearer {edge.mint()}"}
    answer = await edge.get(url, headers=token)
    assert answer.json == {
        "title": VIDEOS["x8demo1"].title,
        "poster": f"{sandbox.origin}/thumbnail/x8demo1.svg",
        "live": False,
    }
    body = '{"title": 7, "thumbnail_url": "https://evil.example/p.jpg", "mode": "live"}'
    sandbox.controls.set_fault("video", Fault(status=200, body=body))
    answer = await edge.get(url, headers=token)
    assert answer.json == {"title": "", "poster": None, "live": False}


async def test_the_player_page_needs_a_token_and_makes_none(edge, page, sandbox):
    await page.goto(f"{edge.player}/watch/x8demo1")
    message = page.locator("#message")
    await message.wait_for()

    assert "needs a token" in await message.inner_text()
    assert "eyJ" not in await page.content()
    assert sandbox.controls.calls["video"] == 0


async def test_the_player_page_obeys_its_own_policy_and_sends_no_referrer(edge, page):
    complaints: list[str] = []
    referrers: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("request", lambda request: referrers.append(request.headers.get("referer", "")))
    await page.goto(f"{edge.player}/watch/x8demo1?hls.js#{edge.mint()}")
    await playing(page, seconds=1)

    assert [text for text in complaints if "Content Security Policy" in text] == []
    assert [text for text in referrers if "watch" in text] == []
    answer = await edge.get(f"{edge.player}/watch/x8demo1")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and " * " not in policy
