"""The sandbox behaves as Dailymotion documents it, including errors and address locks."""

import asyncio

import aiohttp
import m3u8
import pytest
from support import CREDENTIALS, StillClock, run_test_sandbox, wait_until

from proxy.sandbox import playlists
from proxy.sandbox.catalogue import VIDEOS
from proxy.sandbox.controls import CALL_KINDS
from proxy.sandbox.locks import Locks

FORM = {
    "grant_type": "client_credentials",
    "client_id": CREDENTIALS[0],
    "client_secret": CREDENTIALS[1],
    "scope": "read_video_streams",
}


@pytest.fixture
async def session():
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(local_addr=("127.0.0.4", 0))
    ) as opened:
        yield opened


async def request_token(sandbox, session, **changes):
    form = {name: value for name, value in (FORM | changes).items() if value is not None}
    async with session.post(f"{sandbox.origin}/oauth/v1/token", data=form) as response:
        return response.status, await response.json()


async def get(sandbox, session, path, token=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with session.get(f"{sandbox.origin}{path}", headers=headers) as response:
        return response.status, await response.json(), response.headers


async def test_a_private_key_gets_an_access_token_and_no_refresh_token(sandbox, session):
    status, body = await request_token(sandbox, session)

    assert status == 200
    assert set(body) == {"access_token", "token_type", "expires_in", "scope"}
    assert (body["token_type"], body["expires_in"], body["scope"]) == (
        "Bearer",
        36000,
        "read_video_streams",
    )


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"client_secret": "wrong"}, "invalid_client"),
        ({"client_id": None}, "invalid_client"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": None}, "unsupported_grant_type"),
    ],
)
async def test_an_oauth_error_is_a_string(sandbox, session, changes, error):
    status, body = await request_token(sandbox, session, **changes)

    assert status == 400
    assert body["error"] == error and isinstance(body["error_description"], str)


async def test_an_api_error_is_an_object(sandbox, session):
    token = (await request_token(sandbox, session))[1]["access_token"]
    status, body, _ = await get(sandbox, session, "/rest/video/x8nowhere?fields=id", token)

    assert status == 404
    assert set(body["error"]) == {"code", "message", "type", "more_info", "error_data"}
    assert (body["error"]["code"], body["error"]["type"]) == (404, "not_found")
    assert body["error"]["error_data"]["reason"] == "object_not_found"


@pytest.mark.parametrize("path", ["/rest/video/x8demo1", "/rest/echo?message=hi", "/rest/auth"])
async def test_a_missing_or_invalid_access_token_gets_401_with_a_challenge(sandbox, session, path):
    for token in (None, "wrong"):
        status, body, headers = await get(sandbox, session, path, token)
        assert (status, body["error"]["code"]) == (401, 401)
        assert 'error="invalid_token"' in headers["WWW-Authenticate"]


async def test_an_access_token_expires(session):
    clock = StillClock()
    async with run_test_sandbox(now=clock.now) as sandbox:
        token = (await request_token(sandbox, session))[1]["access_token"]
        assert (await get(sandbox, session, "/rest/echo?message=hi", token))[:2] == (
            200,
            {"message": "hi"},
        )
        clock.advance(36_000)
        assert (await get(sandbox, session, "/rest/echo?message=hi", token))[0] == 401


async def test_auth_returns_the_scope_and_echo_requires_a_message(sandbox, session):
    token = (await request_token(sandbox, session))[1]["access_token"]

    assert (await get(sandbox, session, "/rest/auth", token))[1]["scope"] == ["read_video_streams"]
    status, body, _ = await get(sandbox, session, "/rest/echo", token)
    assert (status, body["error"]["type"]) == (400, "missing_required_parameter")


async def test_the_requested_fields_are_returned(sandbox, session):
    token = (await request_token(sandbox, session))[1]["access_token"]
    _, vod, _ = await get(
        sandbox,
        session,
        "/rest/video/x8demo1?fields=id,title,mode,stream_hls_url,stream_live_hls_url",
        token,
    )
    _, live, _ = await get(
        sandbox,
        session,
        "/rest/video/x8live1?fields=mode,onair,stream_hls_url,stream_live_hls_url",
        token,
    )

    assert vod["stream_hls_url"] and vod["stream_live_hls_url"] is None and vod["mode"] == "vod"
    assert live["stream_live_hls_url"] and live["stream_hls_url"] is None and live["onair"] is True
    assert vod["title"] == VIDEOS["x8demo1"].title


async def test_stream_urls_require_the_scope(sandbox, session):
    token = (await request_token(sandbox, session, scope="userinfo"))[1]["access_token"]
    status, body, _ = await get(
        sandbox, session, "/rest/video/x8demo1?fields=stream_hls_url", token
    )

    assert (status, body["error"]["error_data"]["reason"]) == (403, "can-read-video-streams")


async def test_client_ip_must_be_an_address(sandbox, session):
    token = (await request_token(sandbox, session))[1]["access_token"]
    status, body, _ = await get(
        sandbox, session, "/rest/video/x8demo1?fields=stream_hls_url&client_ip=me", token
    )

    assert (status, body["error"]["error_data"]["param"]) == (400, "client_ip")


async def test_without_client_ip_the_stream_url_is_locked_to_the_caller(sandbox, session):
    token = (await request_token(sandbox, session))[1]["access_token"]
    _, body, _ = await get(sandbox, session, "/rest/video/x8demo1?fields=stream_hls_url", token)

    async with session.get(body["stream_hls_url"]) as response:
        assert response.status == 200
    async with (
        aiohttp.ClientSession() as elsewhere,
        elsewhere.get(body["stream_hls_url"]) as response,
    ):
        assert response.status == 403
        assert (
            response.headers["X-Sandbox-Why"]
            == "locked to video x8demo1 and 127.0.0.4, requested for video x8demo1 by 127.0.0.1"
        )
        assert response.headers["Access-Control-Allow-Origin"] == "*"


async def test_a_stream_url_and_its_variants_expire_together(session):
    clock = StillClock()
    async with run_test_sandbox(now=clock.now, locks=Locks(ttl=60)) as sandbox:
        token = (await request_token(sandbox, session))[1]["access_token"]
        _, body, _ = await get(sandbox, session, "/rest/video/x8demo1?fields=stream_hls_url", token)
        async with session.get(body["stream_hls_url"]) as response:
            variant = m3u8.loads(await response.text()).playlists[0].absolute_uri
        for seconds, status in ((60, 200), (1, 403)):
            clock.advance(seconds)
            for url in (body["stream_hls_url"], variant):
                async with session.get(url) as response:
                    assert response.status == status


async def test_every_uri_of_every_playlist_exists_and_is_locked_to_the_viewer(sandbox, session):
    token = (await request_token(sandbox, session))[1]["access_token"]
    async with aiohttp.ClientSession() as elsewhere:
        for video, field in (("x8demo1", "stream_hls_url"), ("x8live1", "stream_live_hls_url")):
            _, body, _ = await get(sandbox, session, f"/rest/video/{video}?fields={field}", token)
            async with session.get(body[field]) as response:
                multivariant = m3u8.loads(await response.text(), uri=body[field])
            media = [p.absolute_uri for p in multivariant.playlists] + [
                m.absolute_uri for m in multivariant.media
            ]
            assert len(media) == (3 if video == "x8demo1" else 1)
            for url in media:
                async with session.get(url) as response:
                    playlist = m3u8.loads(await response.text(), uri=str(response.url))
                assert playlist.segments
                for segment in playlist.segments:
                    async with session.get(segment.absolute_uri) as response:
                        assert response.status == 200
                    async with elsewhere.get(segment.absolute_uri) as response:
                        assert response.status == 403


def test_the_multivariant_playlist_has_the_format_of_dailymotions():
    text = playlists.build_multivariant("http://127.0.0.1:1", "x8demo1", "SEC")
    heights = [variant.stream_info.resolution[1] for variant in m3u8.loads(text).playlists]

    assert "#EXT-X-VERSION" not in text
    assert heights != sorted(heights)
    assert "#cell=cf" in text and text.index("#EXT-X-MEDIA:") > text.rindex("#EXT-X-STREAM-INF")


def test_the_live_playlist_advances_without_gaps():
    """Sequence numbers are consecutive, segments keep their URIs, discontinuities are counted."""
    seen: dict[int, tuple[str, bool]] = {}
    previous = None
    for on_air in range(3600, 3660):
        playlist = m3u8.loads(playlists.build_live_playlist("x8live1", "live_180", on_air=on_air))
        first = playlist.media_sequence
        assert len(playlist.segments) == playlists.LIVE_WINDOW and not playlist.is_endlist
        discontinuities = playlist.discontinuity_sequence
        for number, segment in enumerate(playlist.segments, first):
            assert seen.setdefault(number, (segment.uri, segment.discontinuity)) == (
                segment.uri,
                segment.discontinuity,
            )
        if previous is not None and first != previous[0]:
            assert first == previous[0] + 1
            assert discontinuities == previous[1] + seen[previous[0]][1]
        previous = first, discontinuities


async def test_responses_are_held_back_until_the_given_number_of_calls_wait(sandbox, session):
    async with session.post(f"{sandbox.origin}/__hold/token?until=3") as response:
        assert response.status == 204
    requests = [asyncio.create_task(request_token(sandbox, session)) for _ in range(2)]
    done, _ = await asyncio.wait(requests, timeout=0.1)
    assert not done
    await request_token(sandbox, session)
    assert [status for status, _ in await asyncio.gather(*requests)] == [200, 200]
    async with session.get(f"{sandbox.origin}/__calls") as response:
        calls = await response.json()
    waiting = calls.pop("waiting")
    assert {kind: count for kind, count in calls.items() if count} == {"token": 3}
    assert set(calls) == set(waiting) == set(CALL_KINDS) and not any(waiting.values())
    async with (
        session.delete(f"{sandbox.origin}/__calls"),
        session.get(f"{sandbox.origin}/__calls") as response,
    ):
        assert (await response.json())["token"] == 0


async def test_held_back_responses_can_be_released(sandbox, session):
    async with session.post(f"{sandbox.origin}/__hold/token"):
        pass
    request = asyncio.create_task(request_token(sandbox, session))
    await wait_until(lambda: sandbox.controls.waiting["token"] == 1)
    async with session.delete(f"{sandbox.origin}/__hold/token"):
        assert (await request)[0] == 200


async def test_faults_can_be_injected_and_removed(sandbox, session):
    url = f"{sandbox.origin}/__faults/token"
    async with session.post(
        url, json={"status": 503, "headers": {"Retry-After": "1"}, "body": "{}", "times": 2}
    ):
        pass
    assert [(await request_token(sandbox, session))[0] for _ in range(3)] == [503, 503, 200]
    async with session.post(url, json={"status": 500, "body": "{}"}):
        assert (await request_token(sandbox, session))[0] == 500
    async with session.delete(url):
        assert (await request_token(sandbox, session))[0] == 200
    async with session.post(url, json={"colour": "blue"}) as response:
        assert response.status == 400
    async with session.post(url, json={"delay": 0.01}):
        assert (await request_token(sandbox, session))[0] == 200  # the normal response, sent late
    for body in (b"not json", b"[]", b'{"headers": 7}', b'{"delay": "x"}', b'{"delay": NaN}'):
        async with session.post(url, data=body) as response:
            assert response.status == 400
    async with session.post(f"{sandbox.origin}/__faults/weather", json={}) as response:
        assert response.status == 404
    async with session.delete(f"{sandbox.origin}/__access_tokens") as response:
        assert response.status == 204


async def test_the_index_lists_every_video(sandbox, session):
    async with session.get(f"{sandbox.origin}/") as response:
        page = await response.text()

    assert [video for video in VIDEOS if video not in page] == []
    async with session.get(f"{sandbox.origin}/open/x8demo1") as response:
        assert response.status == 404  # the sandbox runs without an edge
