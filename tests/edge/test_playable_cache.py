"""Verdicts are cached, refreshed in the background, and never based on a single bad check."""

import asyncio

import pytest
from aiohttp import web
from support import PLAYLIST_HEADERS, serve_app, wait_until

from proxy.sandbox.controls import Fault

EMPTY = Fault(status=200, body="#EXTM3U\n", headers=PLAYLIST_HEADERS)
VALIDATE = {"delivery": {"mode": "validate"}}


async def count_checks(edge, verdict: str) -> float:
    return (await edge.metric("playgate_playlist_checks_total")).get(f'verdict="{verdict}"', 0)


@pytest.fixture
async def validating_edge(start_edge, clock):
    return await start_edge(clock=clock, **VALIDATE)


async def wait_for_checks(edge, count: int) -> None:
    async def done() -> bool:
        return sum((await edge.metric("playgate_playlist_checks_total")).values()) >= count

    await wait_until(done)


async def test_the_edge_checks_another_url_than_the_viewer_gets(validating_edge, sandbox):
    response = await validating_edge.play(source="127.0.0.5")

    assert response.status == 302
    assert sandbox.controls.calls["video"] == 2  # for the viewer, and for the edge
    assert (await validating_edge.get(response.location, source="127.0.0.5")).status == 200
    assert (await validating_edge.get(response.location, source="127.0.0.1")).status == 403


async def test_a_verdict_is_cached_and_refreshed_in_the_background(validating_edge, sandbox, clock):
    await validating_edge.play()
    for _ in range(5):
        await validating_edge.play()
    assert await count_checks(validating_edge, "ok") == 1
    assert sandbox.controls.calls["playlist"] == 2  # multivariant and first media

    clock.advance(30)
    sandbox.controls.hold("playlist")
    assert (await validating_edge.play()).status == 302  # although the new check hangs
    await wait_until(lambda: sandbox.controls.waiting["playlist"] == 1)
    for _ in range(3):
        assert (await validating_edge.play()).status == 302
    assert sandbox.controls.waiting["playlist"] == 1
    sandbox.controls.release("playlist")
    await wait_for_checks(validating_edge, 2)
    assert await count_checks(validating_edge, "ok") == 2


async def test_many_first_plays_share_one_check(validating_edge, sandbox):
    sandbox.controls.hold("playlist")
    plays = [asyncio.create_task(validating_edge.play(source=f"127.0.0.{n}")) for n in range(1, 21)]
    await wait_until(lambda: sandbox.controls.waiting["playlist"] == 1)
    sandbox.controls.release("playlist")

    assert {response.status for response in await asyncio.gather(*plays)} == {302}
    assert await count_checks(validating_edge, "ok") == 1


async def test_a_video_is_refused_only_after_two_consecutive_bad_checks(
    validating_edge, sandbox, clock
):
    sandbox.controls.set_fault("playlist", EMPTY)
    assert (await validating_edge.play()).status == 302
    assert await count_checks(validating_edge, "unknown") == 1

    clock.advance(1)  # a video with one bad check is checked again soon
    assert (await validating_edge.play()).status == 302  # this play starts the check
    await wait_for_checks(validating_edge, 2)
    response = await validating_edge.play()

    assert (response.status, response.reason) == (502, "playlist-invalid")
    assert validating_edge.lines()[-1]["detail"] == "empty"
    assert await count_checks(validating_edge, "invalid") == 1
    assert (await validating_edge.metric("playgate_playlist_findings_total"))['rule="empty"'] == 2


async def test_bad_checks_that_are_not_consecutive_do_not_refuse_a_video(
    validating_edge, sandbox, clock
):
    for count, fault in enumerate([EMPTY, Fault(status=403), EMPTY, None, EMPTY], start=1):
        sandbox.controls.set_fault("playlist", fault)
        assert (await validating_edge.play()).status == 302
        await wait_for_checks(validating_edge, count)
        clock.advance(30)
    assert await count_checks(validating_edge, "invalid") == 0


async def test_a_fixed_video_plays_again(validating_edge, sandbox, clock):
    sandbox.controls.set_fault("playlist", EMPTY)
    for count in (1, 2):
        await validating_edge.play()
        await wait_for_checks(validating_edge, count)
        clock.advance(1)
    assert (await validating_edge.play()).status == 502

    sandbox.controls.set_fault("playlist", None)
    clock.advance(4)
    await validating_edge.play()
    await wait_for_checks(validating_edge, 3)
    assert (await validating_edge.play()).status == 302


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=403),
        Fault(status=404),
        Fault(status=500),
        Fault(status=200, body="<!doctype html><title>Just a moment</title>", headers=(("Content-Type", "text/html"),)),
        Fault(status=200, body='{"error": "robot"}'),
        Fault(status=200, body=""),
        Fault(cut="before"),
        Fault(cut="within", status=200),
        Fault(status=302, headers=(("Location", "http://127.0.0.1:1/elsewhere.m3u8"),)),
        Fault(status=302, headers=(("Location", "/loop.m3u8"),)),
        Fault(status=200, body="#EXTM3U\n" + "#" * 2_100_000, headers=PLAYLIST_HEADERS),
        Fault(status=200, body="#EXTM3U\n", headers=(*PLAYLIST_HEADERS, ("Content-Encoding", "gzip"))),
    ],
    ids=lambda fault: f"{fault.status}-{fault.cut}{fault.body[:12]}",
)  # fmt: skip
async def test_repeated_checks_without_a_result_do_not_refuse_a_video(
    validating_edge, sandbox, clock, fault
):
    sandbox.controls.set_fault("playlist", fault)
    for count in (1, 2, 3):
        assert (await validating_edge.play()).status == 302
        await wait_for_checks(validating_edge, count)
        clock.advance(30)

    assert await count_checks(validating_edge, "unknown") >= 3
    assert await count_checks(validating_edge, "invalid") == 0
    assert validating_edge.lines("playlist-check")[0]["verdict"] == "unknown"


async def test_a_cdn_that_hangs_delays_the_first_play_only_until_the_timeout(start_edge, sandbox):
    edge = await start_edge(delivery={"mode": "validate"}, platform={"play_timeout": 0.5})
    sandbox.controls.hold("playlist")

    assert (await edge.play()).status == 302
    assert await count_checks(edge, "unknown") == 1
    sandbox.controls.release("playlist")


async def test_the_first_media_playlist_is_checked_as_well(start_edge, sandbox):
    edge = await start_edge(**VALIDATE)
    await edge.play()

    assert sandbox.controls.calls["playlist"] == 2


@pytest.mark.parametrize(
    ("names", "verdict"), [(["bad", "good"], "ok"), (["bad", "bad"], "invalid")]
)
async def test_a_video_is_invalid_only_if_all_checked_variants_are_bad(
    start_edge, sandbox, clock, names, verdict
):
    """Players skip an unplayable variant and try the next."""
    bodies = {
        "multi": "#EXTM3U\n"
        + "".join(f"#EXT-X-STREAM-INF:BANDWIDTH=1\n{name}.m3u8\n" for name in names),
        "bad": "#EXTM3U\n#EXT-X-ENDLIST\n",
        "good": "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n1.ts\n",
    }

    async def playlist(request: web.Request) -> web.Response:
        return web.Response(text=bodies[request.match_info["name"]])

    app = web.Application()
    app.router.add_get("/{name}.m3u8", playlist)
    async with serve_app(app) as origin:
        hosts = [origin.removeprefix("http://"), sandbox.origin.removeprefix("http://")]
        edge = await start_edge(clock=clock, platform={"allowed_hosts": hosts}, **VALIDATE)
        location = (("Location", f"{origin}/multi.m3u8"),)
        sandbox.controls.set_fault("playlist", Fault(status=302, headers=location))
        for _ in range(2):
            await edge.play()
            clock.advance(400)

        assert await count_checks(edge, verdict) == (2 if verdict == "ok" else 1)


async def test_a_playlist_that_references_itself_is_fetched_only_a_few_times(
    validating_edge, sandbox
):
    text = "#EXTM3U\n" + "".join(
        f"#EXT-X-STREAM-INF:BANDWIDTH={n}\nself.m3u8\n" for n in range(1, 9)
    )
    sandbox.controls.set_fault("playlist", Fault(status=200, body=text, headers=PLAYLIST_HEADERS))
    # the sandbox serves the variants, and responds with the same playlist again
    assert (await validating_edge.play()).status == 302
    assert sandbox.controls.calls["playlist"] <= 4


async def test_a_refusal_of_the_viewers_own_stream_url_keeps_its_reason(validating_edge):
    assert (await validating_edge.play("x8null")).reason == "stream-unavailable"


async def test_an_exception_in_a_check_does_not_refuse_a_video(validating_edge, monkeypatch):
    async def bug(*_args: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("proxy.edge.playlist_checker.PlaylistChecker.check", bug)
    assert (await validating_edge.play()).status == 302
    assert validating_edge.lines("internal")[0]["task"] == "playlist-check"


async def test_the_number_of_cached_verdicts_is_bounded(start_edge, monkeypatch):
    monkeypatch.setattr("proxy.edge.playable_cache.MAX_CACHED_VERDICTS", 2)
    validating_edge = await start_edge(**VALIDATE)
    for video in ("x8demo1", "x8live1", "x8keys1", "x8demo1"):
        await validating_edge.play(video)

    assert await count_checks(validating_edge, "ok") == 4
