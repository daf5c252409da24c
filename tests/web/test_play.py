"""GET /play/{id}.m3u8, as players request it."""

import asyncio
from base64 import urlsafe_b64decode
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiohttp import web
from support import b64, run_test_edge, serve_app, sign_token, wait_until

from proxy.sandbox.catalogue import VIDEOS

REASON_STATUS = {
    "stream-unavailable": 404, "live-off-air": 404, "video-not-found": 404,
    "video-private": 403, "video-password": 403, "video-geoblocked": 403,
    "platform-permission": 502, "platform-bad-response": 502, "stream-host-not-allowed": 502,
    "platform-throttled": 503, "platform-unreachable": 503, "platform-timeout": 504,
}  # fmt: skip


async def test_a_signed_link_redirects_to_the_viewers_own_stream(edge):
    response = await edge.play()

    assert response.status == 302
    assert urlsplit(response.location).path == "/cdn/manifest/video/x8demo1.m3u8"
    assert "token" not in response.location
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.body == b""
    stream = await edge.get(response.location)
    assert stream.status == 200
    assert stream.body.startswith(b"#EXTM3U\n#EXT-X-STREAM-INF")


async def test_a_live_channel_plays_under_the_same_path(edge):
    response = await edge.play("x8live1")

    assert urlsplit(response.location).path == "/cdn/live/video/x8live1.m3u8"
    assert (await edge.get(response.location)).status == 200


async def test_a_stream_url_gets_403_from_another_address(edge):
    response = await edge.play(source="127.0.0.2")

    assert (await edge.get(response.location, source="127.0.0.2")).status == 200
    assert (await edge.get(response.location, source="127.0.0.1")).status == 403


async def test_a_locked_variant_gets_403_from_another_address(edge):
    multivariant = await edge.get(
        (await edge.play(source="127.0.0.2")).location, source="127.0.0.2"
    )
    variant = next(
        line for line in multivariant.body.decode().splitlines() if line.startswith("http")
    )

    assert (await edge.get(variant.split("#")[0], source="127.0.0.2")).status == 200
    assert (await edge.get(variant.split("#")[0], source="127.0.0.1")).status == 403


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-IP", "Forwarded"])
async def test_a_forged_address_from_an_untrusted_peer_changes_nothing(edge, header):
    response = await edge.play(source="127.0.0.3", headers={header: "127.0.0.9"})

    assert (await edge.get(response.location, source="127.0.0.9")).status == 403
    assert (await edge.get(response.location, source="127.0.0.3")).status == 200


async def test_a_trusted_proxy_names_the_viewer(start_edge):
    edge = await start_edge(viewer={"trusted_proxies": ["127.0.0.1"]})

    response = await edge.play(headers={"X-Forwarded-For": "203.0.113.7, 127.0.0.9"})

    assert (await edge.get(response.location, source="127.0.0.9")).status == 200


async def test_head_gets_the_same_redirect_as_get(edge):
    response = await edge.play(method="HEAD")

    assert (response.status, response.body) == (302, b"")
    assert "Location" in response.headers


async def test_options_needs_no_token(edge):
    response = await edge.get(f"{edge.player}/play/x8demo1.m3u8", method="OPTIONS")

    assert response.status == 204
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert "GET" in response.headers["Access-Control-Allow-Methods"]
    assert "Authorization" in response.headers["Access-Control-Allow-Headers"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Range": "bytes=0-"},
        {"If-None-Match": "*"},
        {"If-Modified-Since": "Fri, 20 Nov 2099 00:00:00 GMT"},
        {"If-Range": '"x"', "Range": "bytes=5-"},
    ],
)
async def test_range_and_conditional_headers_do_not_change_the_redirect(edge, headers):
    assert (await edge.play(headers=headers)).status == 302


@pytest.mark.parametrize(
    "video", [name for name, entry in VIDEOS.items() if entry.expect in REASON_STATUS]
)
async def test_each_failure_to_play_a_video_has_its_reason(sandbox, video):
    async with run_test_edge(sandbox, platform={"play_timeout": 2}) as edge:
        response = await edge.play(video)

    expected = VIDEOS[video].expect
    assert (response.reason, response.status) == (expected, REASON_STATUS[expected])
    assert response.json["reason"] == expected
    assert response.headers["Content-Type"].startswith("application/problem+json")
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.json["request_id"] == response.headers["X-Request-Id"]
    assert "Location" not in response.headers


async def test_the_token_may_come_in_the_query_a_header_or_a_cookie(edge):
    token, url = edge.mint(), f"{edge.player}/play/x8demo1.m3u8"

    assert (await edge.get(f"{url}?token={token}")).status == 302
    assert (await edge.get(url, headers={"Authorization": f"Bearer {token}"})).status == 302
    assert (await edge.get(url, headers={"Cookie": f"a=b; playgate_token={token}"})).status == 302


async def test_the_same_token_in_several_places_is_accepted(edge):
    token = edge.mint()
    headers = {"Authorization": f"bearer {token}", "Cookie": f"playgate_token={token}"}

    assert (await edge.get(edge.play_url(token=token), headers=headers)).status == 302


@pytest.mark.parametrize("place", ["query", "header", "cookie", "two cookies"])
async def test_two_different_tokens_are_refused(edge, place):
    one, two = edge.mint(ttl=100), edge.mint(ttl=101)
    url = edge.play_url(token=one)
    send = {
        "query": lambda: edge.get(f"{url}&token={two}"),
        "header": lambda: edge.get(url, headers={"Authorization": f"Bearer {two}"}),
        "cookie": lambda: edge.get(url, headers={"Cookie": f"playgate_token={two}"}),
        "two cookies": lambda: edge.get(
            f"{edge.player}/play/x8demo1.m3u8",
            headers={"Cookie": f"playgate_token={one}; playgate_token={two}"},
        ),
    }[place]

    assert (await send()).reason == "token-conflict"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/play/x8demo1.m3u8/", 404),
        ("/play//x8demo1.m3u8", 404),
        ("/play/./x8demo1.m3u8", 404),
        ("//play/x8demo1.m3u8", 404),
        ("/play/../play/x8demo1.m3u8", 404),
        ("/play/%2e%2e.m3u8", 404),
        ("/play/..%2fx8demo1.m3u8", 404),
        ("/play/%252e.m3u8", 404),
        ("/play/x8demo1%00.m3u8", 404),
        ("/play/x8demo1;x.m3u8", 404),
        ("/play/x8demo1%23.m3u8", 404),
        ("/play/x8demo1\\.m3u8", 404),
        ("/play/x8demo1%c0%af.m3u8", 404),
        ("/play/X8DEMO1.m3u8", 404),
        ("/PLAY/x8demo1.m3u8", 404),
        ("/play/x8demo1.M3U8", 404),
        ("/play/x8demo12.m3u8", 403),
        ("/play/x8demo.m3u8", 403),
        ("/", 404),
        ("/a%0ab", 404),
    ],
)
async def test_a_similar_path_does_not_play_the_video(edge, path, status):
    response = await edge.get(f"{edge.player}{path}?token={edge.mint('x8demo1')}")

    assert response.status == status
    assert response.reason in {"not-found", "video-not-found", "token-video"}


async def test_an_unsupported_method_gets_405_with_the_allowed_methods(edge):
    response = await edge.play(method="POST")

    assert (response.status, response.reason) == (405, "method-not-allowed")
    assert response.headers["Allow"] == "GET, HEAD, OPTIONS"
    assert await edge.metric("playgate_plays_total") == {}


async def test_each_play_is_logged_and_counted_once(edge):
    await edge.get(edge.play_url(token=edge.mint(subject="viewer-7")))
    await edge.get(f"{edge.player}/play/x8demo1.m3u8")

    played, refused = edge.lines()
    assert played["route"] == "play" and played["status"] == 302 and played["subject"] == "viewer-7"
    assert played["video"] == "x8demo1" and played["viewer"] == "127.0.0.1"
    assert 0 < played["upstream_ms"] <= played["duration_ms"]
    assert refused["reason"] == "token-missing" and "upstream_ms" not in refused
    assert await edge.metric("playgate_plays_total") == {
        'outcome="redirected"': 1,
        'outcome="refused"': 1,
    }
    assert await edge.metric("playgate_refusals_total") == {'reason="token-missing"': 1}
    assert await edge.metric("playgate_viewers_total") == {'family="ipv4"': 2}


async def test_the_request_id_is_accepted_from_trusted_proxies_only(sandbox):
    headers = {"X-Request-Id": "abc-123"}
    async with run_test_edge(sandbox, viewer={"trusted_proxies": ["127.0.0.1"]}) as edge:
        assert (await edge.play(headers=headers)).headers["X-Request-Id"] == "abc-123"
        assert (await edge.play(headers=headers, source="127.0.0.2")).headers[
            "X-Request-Id"
        ] != "abc-123"
        strange = await edge.play(headers={"X-Request-Id": "a b"})
        assert strange.headers["X-Request-Id"] != "a b"


async def test_two_hundred_plays_at_startup_share_one_token_request_and_one_video_request(sandbox):
    """The tabs of one viewer share one call. The call continues if the first tab disconnects."""
    sandbox.controls.hold("token")
    sandbox.controls.hold("video")
    async with run_test_edge(sandbox, platform={"play_timeout": 120}) as edge:
        url = edge.play_url()
        plays = [asyncio.create_task(edge.get(url)) for _ in range(200)]

        async def are_all_waiting() -> bool:
            in_flight = await edge.metric("playgate_http_requests_in_flight")
            return in_flight[""] == 201  # includes this request for /metrics

        await wait_until(are_all_waiting)
        plays[0].cancel()
        sandbox.controls.release("token")
        await wait_until(lambda: sandbox.controls.waiting["video"] == 1)
        sandbox.controls.release("video")
        responses = await asyncio.gather(*plays, return_exceptions=True)

        assert isinstance(responses[0], asyncio.CancelledError)
        assert {response.status for response in responses[1:]} == {302}
        assert len({response.location for response in responses[1:]}) == 1
        assert sandbox.controls.calls == {"token": 1, "video": 1}
        await wait_until(lambda: any(line["status"] == 499 for line in edge.lines()))


async def test_stream_urls_are_not_cached_after_the_response(edge, sandbox):
    """Each play requests a stream URL of its own from Dailymotion."""
    first, second = await edge.play(), await edge.play()

    assert first.location != second.location
    assert sandbox.controls.calls["video"] == 2


@pytest.mark.parametrize("private", ["pass", "omit"], ids=["locked", "without a lock"])
async def test_two_viewers_at_once_never_share_a_url(sandbox, private):
    async with run_test_edge(sandbox, viewer={"private": private}) as edge:
        await edge.play()
        sandbox.controls.hold("video", until=2)
        one, two = await asyncio.gather(
            edge.play(source="127.0.0.1"), edge.play(source="127.0.0.2")
        )

    assert one.location != two.location


async def test_a_viewer_on_loopback_is_refused_outside_the_sandbox(sandbox):
    """Behind a proxy that names no viewer, every viewer has this address; the message says so."""
    async with run_test_edge(sandbox, viewer={"private": "refuse"}) as edge:
        response = await edge.play()

    assert (response.status, response.reason) == (403, "viewer-private")
    for setting in ("viewer.trusted_proxies", "viewer.forwarded_header", "viewer.private"):
        assert setting in response.json["detail"]
    assert sandbox.controls.calls["video"] == 0


async def test_viewer_private_omit_requests_the_stream_without_a_client_ip(sandbox):
    """Dailymotion then locks the stream to the address of the edge: 127.0.0.1 on this machine."""
    async with run_test_edge(sandbox, viewer={"private": "omit"}) as edge:
        response = await edge.play(source="127.0.0.5")

        assert (await edge.get(response.location, source="127.0.0.1")).status == 200
        assert (await edge.get(response.location, source="127.0.0.5")).status == 403


async def test_an_unexpected_exception_gets_500_without_details(edge, monkeypatch):
    """Only bugs cause this. The viewer gets a request ID, and the log gets the traceback."""

    async def fail(*_args: object, **_options: object) -> None:
        raise ZeroDivisionError("the-inner-workings")

    monkeypatch.setattr(edge.edge.apps.services.delivery, "deliver", fail)
    response = await edge.play()

    assert (response.status, response.reason) == (500, "internal")
    assert b"the-inner-workings" not in response.body
    (line,) = edge.lines("internal")
    assert line["exception"][0]["exc_type"] == "ZeroDivisionError"
    assert "eyJ" not in edge.log.getvalue()  # the traceback has no token among its local variables


async def test_the_server_header_discloses_no_versions(edge):
    response = await edge.play()

    assert response.headers["Server"] == "playgate"


@pytest.mark.parametrize("kid", ["sandbox", "evil"])
async def test_keys_in_the_header_of_a_token_are_ignored(edge, kid):
    """The edge neither uses nor fetches the keys in `jwk`, `jku` and `x5u`: an attacker owns them."""
    _, payload, _ = edge.mint().split(".")
    secret, fetched = "e" * 32, []
    jwk = {"kty": "oct", "alg": "HS256", "kid": kid, "k": b64(secret)}

    async def serve_keys(request: web.Request) -> web.Response:
        fetched.append(request.path)
        return web.json_response({"keys": [jwk]})

    app = web.Application()
    app.router.add_get("/{path}", serve_keys)
    async with serve_app(app) as origin:
        urls = {"jku": f"{origin}/jwks.json", "x5u": f"{origin}/chain.pem"}
        forged = sign_token(
            {"alg": "HS256", "kid": kid, "jwk": jwk, **urls},
            urlsafe_b64decode(f"{payload}=="),
            secret,
        )
        response = await edge.get(edge.play_url(token=forged))

    assert response.reason == ("token-signature" if kid == "sandbox" else "token-key-unknown")
    assert fetched == []


async def test_an_absolute_form_request_line_is_accepted(edge):
    url = edge.play_url()
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.edge.player.port)
    writer.write(f"GET {url} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n".encode())
    response = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()

    assert response.startswith("HTTP/1.1 302")
    assert "evil.example" not in response


async def test_an_http_client_follows_the_redirect_to_the_playlist(edge):
    async with aiohttp.ClientSession() as session, session.get(edge.play_url()) as response:
        assert response.status == 200
        assert (await response.text()).startswith("#EXTM3U")
