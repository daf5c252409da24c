"""Every kind of response from Dailymotion: each leads to its reason, in time, with few API calls."""

import asyncio
import json

import pytest
from aiohttp import web
from support import run_test_edge, wait_until

from proxy.sandbox.controls import Fault

SHORT_PLAY_TIMEOUT = {"platform": {"play_timeout": 2.5}}


def fault(status: int = 200, body: object = "", **options: object) -> Fault:
    return Fault(status=status, body=body if isinstance(body, str) else json.dumps(body), **options)


def error(status: int, kind: str = "", code: object = None, **data: object) -> Fault:
    body = {
        "error": {
            "code": status if code is None else code,
            "type": kind,
            "message": "prose",
            "error_data": data,
        }
    }
    return fault(status, body)


def url(value: object) -> Fault:
    return fault(body={"stream_hls_url": value, "stream_live_hls_url": None})


BIG = '{"stream_hls_url": "' + "a" * 5_000_000 + '"}'

VIDEO_RESPONSES = [
    (fault(body="<!doctype html>"), "platform-bad-response"),
    (fault(body=""), "platform-bad-response"),
    (fault(body="null"), "platform-bad-response"),
    (fault(body="[]"), "platform-bad-response"),
    (fault(body='"https://dailymotion.com/"'), "platform-bad-response"),
    (fault(body="{}"), "platform-bad-response"),
    (fault(body='{"id": "x8demo1"}'), "platform-bad-response"),
    (fault(body="[" * 100_000), "platform-bad-response"),
    (fault(body=BIG), "platform-bad-response"),
    (url(["https://dailymotion.com/"]), "platform-bad-response"),
    (url(7), "platform-bad-response"),
    (url({}), "platform-bad-response"),
    (url(None), "stream-unavailable"),
    (url(""), "platform-bad-response"),
    (url("https://evil.example/x.m3u8"), "stream-host-not-allowed"),
    (url("https://dmcdn.net.evil.example/x.m3u8"), "stream-host-not-allowed"),
    (url("http://dmcdn.net/x.m3u8"), "stream-host-not-allowed"),
    (url("https://user:pass@127.0.0.1:8090/x"), "stream-host-not-allowed"),
    (url("https://10.0.0.1/x.m3u8"), "stream-host-not-allowed"),
    (url("https://169.254.169.254/latest"), "stream-host-not-allowed"),
    (url("https://dmcdn.net/x\r\nSet-Cookie: a=b"), "stream-host-not-allowed"),
    (url("not a url"), "stream-host-not-allowed"),
    (fault(body={"stream_hls_url": None, "mode": "live", "onair": False}), "live-off-air"),
    (fault(body={"stream_hls_url": None, "mode": "live", "onair": True}), "stream-unavailable"),
    (fault(body={"stream_hls_url": None, "private": True}), "video-private"),
    (fault(body={"stream_hls_url": None, "password_protected": True}), "video-password"),
    (fault(body={"stream_hls_url": None, "status": "<b>prose</b>"}), "stream-unavailable"),
    (fault(302, headers=(("Location", "http://127.0.0.1:1/"),)), "platform-bad-response"),
    (error(400, "invalid_parameter"), "platform-bad-response"),
    (error(403, "access_forbidden"), "platform-permission"),
    (error(403, "access_forbidden", "403"), "platform-permission"),
    (error(403, "access_forbidden", reason="can-read-video-streams"), "platform-permission"),
    (error(403, "access_forbidden", "DM007"), "video-geoblocked"),
    (error(403, "access_forbidden", reason="DM010"), "video-private"),
    (error(403, "password_protected", reason="video_password_protected"), "video-password"),
    (error(403, "rate_limit_exceeded"), "platform-throttled"),
    (fault(403, {"error": {"code": 403, "message": "Flagged as spam"}}), "platform-throttled"),
    (fault(403, "<html>Forbidden"), "platform-bad-response"),
    (fault(403, {"error": "insufficient_scope"}), "platform-permission"),
    (error(404, "not_found", "404", reason="object_not_found"), "video-not-found"),
    (fault(404, {"error": {}}), "video-not-found"),
    (error(418, "teapot"), "platform-bad-response"),
    (fault(499, {"error": {"code": []}}), "platform-bad-response"),
    (fault(200, {"error": {"code": 404, "type": "not_found"}}), "video-not-found"),
    (fault(200, {"error": {"code": "403", "type": "x"}}), "platform-permission"),
    (fault(200, {"error": {"code": "x"}}), "platform-bad-response"),
    (fault(200, {"error": {"code": 10**30}}), "platform-bad-response"),
    (fault(200, {"error": {"code": "9" * 5000}}), "platform-bad-response"),
    (fault(200, {"error": None}), "platform-bad-response"),
    (fault(500), "platform-unreachable"),
    (fault(503, "<html>"), "platform-unreachable"),
    (fault(429), "platform-throttled"),
    (fault(429, headers=(("Retry-After", "3600"),)), "platform-throttled"),
    (fault(cut="before"), "platform-unreachable"),
    (fault(cut="within"), "platform-unreachable"),
    (fault(cut="drip"), "platform-timeout"),
]


@pytest.mark.parametrize(("broken", "reason"), VIDEO_RESPONSES)
async def test_each_response_to_a_video_request_maps_to_its_reason(sandbox, broken, reason):
    async with run_test_edge(sandbox, **SHORT_PLAY_TIMEOUT) as edge:
        await edge.play()
        sandbox.controls.set_fault("video", broken)
        response = await edge.play()
        sandbox.controls.set_fault("video", None)

        assert response.reason == reason
        assert "prose" not in edge.log.getvalue()
        assert (await edge.play()).status == 302


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (fault(400, {"error": "invalid_client"}), "platform-credentials"),
        (
            fault(400, {"error": "invalid_grant", "error_description": "prose"}),
            "platform-credentials",
        ),
        (fault(401, {"error": "unauthorized_client"}), "platform-credentials"),
        (fault(422, {"error": "invalid_request"}), "platform-credentials"),
        (fault(400, {"error": "invalid_scope"}), "platform-permission"),
        (fault(403, {"error": {"code": 403, "type": "x"}}), "platform-credentials"),
        (fault(200, {"error": "invalid_client"}), "platform-credentials"),
        (fault(200, "<html>"), "platform-bad-response"),
        (fault(200, {}), "platform-bad-response"),
        (fault(200, {"access_token": ""}), "platform-bad-response"),
        (fault(200, {"access_token": "a\r\nb"}), "platform-bad-response"),
        (fault(200, {"access_token": "a", "expires_in": "soon"}), "platform-bad-response"),
        (fault(200, {"access_token": "a", "expires_in": True}), "platform-bad-response"),
        (fault(200, {"access_token": "a", "expires_in": 0}), "platform-bad-response"),
        (fault(200, '{"access_token": "a", "expires_in": NaN}'), "platform-bad-response"),
        (fault(200, '{"access_token": "a", "expires_in": Infinity}'), "platform-bad-response"),
        (
            fault(200, '{"access_token": "a", "expires_in": 1' + "0" * 400 + "}"),
            "platform-bad-response",
        ),
        (
            fault(503, headers=(("Retry-After", "Mon, 01 Jan 2024 00:00:00 +99999999999999"),)),
            "platform-unreachable",
        ),
        (fault(403, {"error": "invalid sandbox-secret"}), "platform-credentials"),
        (fault(429), "platform-throttled"),
        (fault(500), "platform-unreachable"),
        (fault(cut="before"), "platform-unreachable"),
        (fault(cut="drip"), "platform-timeout"),
    ],
)
async def test_each_response_of_the_token_endpoint_maps_to_its_reason(sandbox, broken, reason):
    sandbox.controls.set_fault("token", broken)
    async with run_test_edge(sandbox, **SHORT_PLAY_TIMEOUT) as edge:
        response = await edge.play()
        ready = await edge.get(f"{edge.operator}/readyz")

        assert response.reason == reason
        assert sandbox.controls.calls["video"] == 0
        assert (ready.status, ready.json["status"]) == (503, "starting")
        assert ready.json["platform"]["token"]["reason"] == reason
        assert "prose" not in edge.log.getvalue()
        assert "sandbox-secret" not in edge.log.getvalue() + ready.body.decode()


async def test_a_refused_access_token_is_replaced_once_and_the_play_succeeds(edge, sandbox):
    await edge.play()
    sandbox.accounts.access_tokens.clear()
    response = await edge.play()

    assert response.status == 302
    assert sandbox.controls.calls == {"token": 2, "video": 3}


@pytest.mark.parametrize(
    "refused",
    [
        fault(401, {"error": {"code": 401, "type": "invalid_token"}}),
        fault(401, "not json"),
        fault(403, {"error": {}}, headers=(("WWW-Authenticate", 'Bearer error="invalid_token"'),)),
        fault(200, {"error": {"code": "401"}}),
    ],
)
async def test_a_lasting_401_in_any_form_causes_one_refresh_and_then_platform_credentials(
    sandbox, refused
):
    async with run_test_edge(sandbox) as edge:
        await edge.play()
        sandbox.controls.set_fault("video", refused)
        responses = [await edge.play() for _ in range(5)]

        assert {response.reason for response in responses} == {"platform-credentials"}
        # The first play replaces the token; the others send no request to the token endpoint.
        assert sandbox.controls.calls["token"] == 2
        assert sandbox.controls.calls["video"] == 1 + 2 + 4


async def test_concurrent_plays_with_a_refused_token_share_one_refresh(edge, sandbox):
    await edge.play()
    sandbox.accounts.access_tokens.clear()
    sandbox.controls.hold("video", until=20)
    responses = await asyncio.gather(*(edge.play(source=f"127.0.0.{n}") for n in range(1, 21)))

    assert {response.status for response in responses} == {302}
    assert sandbox.controls.calls["token"] == 2


@pytest.mark.parametrize(
    ("broken", "attempts"),
    [
        (fault(500, times=1), 1),
        (fault(429, times=1), 1),
        (fault(cut="within", times=2), 2),
        # aiohttp itself retries once on a kept-alive connection that was closed.
        (fault(cut="before", times=2), 1),
    ],
)
async def test_a_short_outage_is_retried_and_the_play_succeeds(edge, sandbox, broken, attempts):
    await edge.play()
    sandbox.controls.set_fault("video", broken)

    assert (await edge.play()).status == 302
    retries = await edge.metric("playgate_upstream_retries_total")
    assert retries['operation="video"'] == attempts


async def test_a_short_retry_after_is_waited_for(sandbox):
    async with run_test_edge(sandbox, platform={"play_timeout": 10}) as edge:
        await edge.play()
        sandbox.controls.set_fault("video", fault(429, headers=(("Retry-After", "1"),), times=1))
        started = asyncio.get_running_loop().time()
        response = await edge.play()

        assert response.status == 302
        assert asyncio.get_running_loop().time() - started >= 1


async def test_a_long_retry_after_is_not_waited_for(edge, sandbox):
    await edge.play()
    sandbox.controls.set_fault("video", fault(429, headers=(("Retry-After", "60"),)))
    response = await edge.play()

    assert (response.status, response.reason) == (503, "platform-throttled")
    assert sandbox.controls.calls["video"] == 2


async def test_a_refused_request_is_not_retried(edge, sandbox):
    for video in ("x8missing", "x8forbidden", "x8garbage", "x8null"):
        await edge.play(video)

    assert sandbox.controls.calls["video"] == 4


async def test_plays_succeed_while_the_token_endpoint_is_down_and_the_cached_token_is_valid(
    edge, sandbox
):
    await edge.play()
    sandbox.controls.set_fault("token", fault(500))

    assert {(await edge.play()).status for _ in range(3)} == {302}
    assert sandbox.controls.calls["token"] == 1


async def test_an_edge_started_during_a_token_outage_becomes_ready_when_the_endpoint_recovers(
    sandbox,
):
    sandbox.controls.set_fault("token", fault(500))
    async with run_test_edge(sandbox, **SHORT_PLAY_TIMEOUT) as edge:
        assert (await edge.play()).reason == "platform-unreachable"
        sandbox.controls.set_fault("token", None)

        async def is_ready() -> bool:
            return (await edge.get(f"{edge.operator}/readyz")).status == 200

        await wait_until(is_ready)  # without any play in between
        assert (await edge.play()).status == 302


async def test_failed_plays_in_a_row_do_not_hammer_the_token_endpoint(sandbox, clock):
    sandbox.controls.set_fault("token", fault(400, {"error": "invalid_client"}))
    async with run_test_edge(sandbox, clock=clock) as edge:
        responses = [await edge.play() for _ in range(50)]
        assert {response.reason for response in responses} == {"platform-credentials"}
        assert sandbox.controls.calls["token"] == 1

        clock.advance(1)  # one more request: by the play or in the background
        assert (await edge.play()).reason == "platform-credentials"
        assert sandbox.controls.calls["token"] == 2


async def test_a_platform_outage_shows_in_readyz_and_a_metric_but_the_edge_stays_ready(
    edge, sandbox
):
    await edge.play()
    sandbox.controls.set_fault("video", fault(500))
    await edge.play()
    ready = await edge.get(f"{edge.operator}/readyz")

    assert (ready.status, ready.json["status"]) == (200, "ready")
    assert ready.json["platform"]["video"]["reason"] == "platform-unreachable"
    assert ready.json["platform"]["video"]["detail"] == "video: HTTP 500"
    assert [line["detail"] for line in edge.lines("platform-failing")] == ["video: HTTP 500"]
    assert await edge.metric("playgate_platform_healthy") == {"": 0}

    sandbox.controls.set_fault("video", None)
    await edge.play()
    assert (await edge.get(f"{edge.operator}/readyz")).json["platform"] == {}
    assert len(edge.lines("platform-recovered")) == 1
    assert await edge.metric("playgate_platform_healthy") == {"": 1}


async def test_a_failed_token_refresh_stays_reported_while_plays_succeed_with_the_old_token(
    sandbox, clock
):
    """Successful plays in the old token's last hours must not hide that it cannot be refreshed."""
    sandbox.now = clock.now
    async with run_test_edge(sandbox, clock=clock) as edge:
        await edge.play()
        sandbox.controls.set_fault("token", fault(400, {"error": "invalid_client"}))
        await clock.next_sleeper()
        clock.advance(36_000 * 0.81)
        await clock.next_sleeper()
        assert (await edge.play()).status == 302
        ready = await edge.get(f"{edge.operator}/readyz")

        assert ready.json["platform"]["token"]["reason"] == "platform-credentials"
        assert await edge.metric("playgate_platform_healthy") == {"": 0}


async def test_a_401_for_one_video_does_not_discard_the_access_token(sandbox):
    async with run_test_edge(sandbox, **SHORT_PLAY_TIMEOUT) as edge:
        await edge.play()
        sandbox.controls.set_fault("token", fault(500))
        sandbox.controls.set_fault("video", fault(401, {"error": {"code": 401}}, times=1))
        assert (await edge.play()).reason == "platform-unreachable"

        assert (await edge.play()).status == 302


async def test_a_refused_video_is_not_reported_as_a_platform_outage(edge):
    await edge.play("x8missing")
    await edge.play("x8forbidden")

    assert (await edge.get(f"{edge.operator}/readyz")).json["platform"] == {}


async def test_each_attempt_is_counted_in_the_duration_metric(edge, sandbox):
    await edge.play()
    sandbox.controls.set_fault("video", fault(500))
    await edge.play()
    counts = await edge.metric("playgate_upstream_request_duration_seconds_count")

    assert counts == {
        'operation="token",outcome="ok"': 1,
        'operation="video",outcome="ok"': 1,
        'operation="video",outcome="error"': 3,
    }
    expiry = (await edge.metric("playgate_access_token_expiry_timestamp_seconds"))[""]
    assert expiry == pytest.approx(sandbox.now() + 36_000, abs=60)


async def test_requests_to_dailymotion_match_the_api_documentation(sandbox):
    """A plain server records the requests."""
    received: list[tuple[str, dict[str, str], str]] = []

    async def record(request: web.Request) -> web.Response:
        received.append(
            (f"{request.method} {request.raw_path}", dict(request.headers), await request.text())
        )
        if request.method == "POST":
            return web.json_response(
                {"access_token": "abc", "token_type": "Bearer", "expires_in": 36000}
            )
        return web.json_response(
            {"stream_hls_url": None, "stream_live_hls_url": f"{sandbox.origin}/a(b)%2f?c=%2F"}
        )

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", record)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    origin = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with run_test_edge(
            sandbox,
            platform={
                "token_url": f"{origin}/oauth/v1/token",
                "rest_url": f"{origin}/rest",
            },
        ) as edge:
            response = await edge.play(source="127.0.0.9")
    finally:
        await runner.cleanup()

    (token, token_headers, form), (video, video_headers, _) = received
    assert token == "POST /oauth/v1/token"
    assert token_headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert (
        form
        == "grant_type=client_credentials&client_id=sandbox&client_secret=sandbox-secret&scope=read_video_streams"
    )
    assert (
        video
        == "GET /rest/video/x8demo1?fields=stream_hls_url,stream_live_hls_url,mode,onair,status,private,password_protected&client_ip=127.0.0.9"
    )
    assert video_headers["Authorization"] == "Bearer abc"
    assert response.location == f"{sandbox.origin}/a(b)%2f?c=%2F"  # signed: must be unchanged
