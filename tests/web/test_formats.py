"""MP4 files under /play, and stream URLs as JSON under /stream-urls."""

import asyncio

import pytest
from support import run_test_edge, wait_until
from yarl import URL

from proxy.domain.formats import MP4_FILES
from proxy.domain.variant_limits import VariantLimits

RELAY = {"delivery": {"mode": "relay"}}
ALL_FIELDS = ["stream_hls_url", "stream_live_hls_url", *(mp4.field for mp4 in MP4_FILES.values())]


def build_file_url(edge, query: str = "", video: str = "x8demo1", token: str = "") -> str:
    return f"{edge.player}/play/{video}.mp4?token={token or edge.mint(video)}{query}"


def build_stream_urls_url(
    edge, formats: str, video: str = "x8demo1", token: str = "", query: str = ""
) -> str:
    token = token or edge.mint(video)
    return f"{edge.player}/stream-urls?video_id={video}&formats={formats}&token={token}{query}"


@pytest.mark.parametrize(
    ("quality", "size"),
    [("sd", "512x384"), ("hq", "720x480"), ("hd", "1280x720"), ("uhd", "1280x720")],
)
async def test_a_player_is_redirected_to_the_best_file_up_to_the_requested_quality(
    edge, quality, size
):
    response = await edge.get(build_file_url(edge, f"&quality={quality}"))

    assert response.status == 302
    assert f"/cdn/H264-{size}/video/x8demo1.mp4?sec=" in response.location
    file = await edge.get(response.location)
    assert (file.status, file.headers["Content-Type"]) == (200, "video/mp4")
    assert file.body[4:8] == b"ftyp"
    part = await edge.get(response.location, headers={"Range": "bytes=4-7"})
    assert (part.status, part.body) == (206, b"ftyp")


async def test_a_file_url_works_only_from_the_viewers_address(edge):
    url = (await edge.get(build_file_url(edge), source="127.0.0.7")).location

    assert (await edge.get(url, source="127.0.0.7")).status == 200
    assert (await edge.get(url, source="127.0.0.8")).status == 403


async def test_the_default_quality_is_hd(edge):
    assert "H264-1280x720" in (await edge.get(build_file_url(edge))).location


async def test_a_missing_exact_quality_is_refused_with_the_available_qualities(edge):
    assert (await edge.get(build_file_url(edge, "&quality=hd&exact=1"))).status == 302
    response = await edge.get(build_file_url(edge, "&quality=uhd&exact=1"))

    assert (response.status, response.reason) == (404, "format-unavailable")
    assert response.json["detail"] == "This video has no MP4 uhd. Available: sd, hq, hd."


@pytest.mark.parametrize(
    ("video", "reason", "message"),
    [
        ("x8tall1", "format-unavailable", "no MP4 at or below hd. Available: hd1080, qhd, uhd."),
        ("x8live1", "format-unavailable", "No MP4 is available. Try HLS (.m3u8)."),
        ("x8offair", "live-off-air", "off air"),
        ("x8null", "stream-unavailable", "no stream right now"),
        ("x8missing", "video-not-found", "video does not exist"),
        ("x8geo", "video-geoblocked", "not available in your country"),
    ],
)
async def test_a_video_without_a_suitable_file_is_refused_with_its_reason(
    edge, video, reason, message
):
    response = await edge.get(build_file_url(edge, video=video))

    assert response.reason == reason and message in response.json["detail"]


async def test_a_download_redirects_to_a_url_that_the_cdn_serves_as_an_attachment(edge):
    url = (await edge.get(build_file_url(edge, "&download=1"))).location

    assert url.endswith("&download=1")
    file = await edge.get(url)
    assert file.headers["Content-Disposition"] == 'attachment; filename="x8demo1.mp4"'


async def test_an_unknown_quality_is_refused_without_a_request_to_dailymotion(edge, sandbox):
    before = sandbox.controls.calls["video"]
    response = await edge.get(build_file_url(edge, "&quality=best"))

    assert (response.status, response.reason) == (400, "request-invalid")
    assert "sd, hq, hd, hd1080, qhd, uhd" in response.json["detail"]
    assert sandbox.controls.calls["video"] == before


async def test_head_and_preflight_requests_for_a_file_succeed(edge):
    assert (await edge.get(build_file_url(edge), method="HEAD")).status == 302
    response = await edge.get(f"{edge.player}/play/x8demo1.mp4", method="OPTIONS")
    assert (response.status, response.headers["Access-Control-Allow-Origin"]) == (204, "*")


async def test_a_token_for_one_format_does_not_allow_another_format(edge):
    hls, mp4 = edge.mint(formats=["hls"]), edge.mint(formats=["mp4"])

    assert (await edge.get(build_file_url(edge, token=mp4))).status == 302
    assert (await edge.get(build_file_url(edge, token=hls))).reason == "token-format"
    assert (await edge.get(edge.play_url(token=hls))).status == 302
    assert (await edge.get(edge.play_url(token=mp4))).reason == "token-format"
    assert (await edge.get(build_stream_urls_url(edge, "stream_hls_url", token=hls))).status == 200
    both = "stream_hls_url,stream_h264_url"
    assert (await edge.get(build_stream_urls_url(edge, both, token=hls))).reason == "token-format"
    assert (await edge.get(build_stream_urls_url(edge, both, token=mp4))).reason == "token-format"


async def test_only_identical_concurrent_requests_share_an_api_call(edge, sandbox):
    await edge.play()
    sandbox.controls.hold("video", until=2)
    before = sandbox.controls.calls["video"]
    responses = await asyncio.gather(
        *(edge.get(build_file_url(edge)) for _ in range(5)), *(edge.play() for _ in range(5))
    )

    assert {response.status for response in responses} == {302}
    assert sandbox.controls.calls["video"] == before + 2


class TestRelayed:
    """The edge relays files if it relays the playlists."""

    async def test_a_file_is_relayed_with_ranges(self, sandbox):
        async with run_test_edge(sandbox, **RELAY) as edge:
            path = (await edge.get(build_file_url(edge), source="127.0.0.7")).location
            assert path.startswith("/relay/") and "sec=" not in path
            assert await edge.metric("playgate_plays_total") == {'outcome="relayed"': 1}
            file = await edge.get(f"{edge.player}{path}", source="127.0.0.8")
            part = await edge.get(
                f"{edge.player}{path}", source="127.0.0.7", headers={"Range": "bytes=4-7"}
            )

            assert (file.status, file.headers["Content-Type"]) == (200, "video/mp4")
            assert (part.status, part.body) == (206, b"ftyp")
            elsewhere = await edge.get(f"{edge.player}{path}", source="127.0.1.1")
            assert elsewhere.reason == "seal-network"

    async def test_a_relayed_download_is_an_attachment(self, sandbox):
        async with run_test_edge(sandbox, **RELAY) as edge:
            path = (await edge.get(build_file_url(edge, "&download=1"))).location
            file = await edge.get(f"{edge.player}{path}")

            assert file.headers["Content-Disposition"] == 'attachment; filename="x8demo1.mp4"'

    async def test_max_height_limits_the_file_whatever_quality_is_requested(self, edge):
        token = edge.mint(limits=VariantLimits(max_height=480))
        path = (await edge.get(build_file_url(edge, "&quality=uhd", token=token))).location
        services = edge.edge.apps.services
        sealed = services.relay.find_bytes(path)

        assert "/H264-720x480/" in sealed.url
        response = await edge.get(build_file_url(edge, "&quality=hd&exact=1", token=token))
        assert response.reason == "format-unavailable"
        assert (
            "Available within the limits of this token or service: sd, hq."
            in response.json["detail"]
        )

    async def test_a_bandwidth_limit_refuses_files_because_their_bandwidth_is_unknown(self, edge):
        token = edge.mint(limits=VariantLimits(max_bandwidth=10**9))

        assert (await edge.get(build_file_url(edge, token=token))).reason == "format-unavailable"


class TestStreamUrls:
    """Stream URLs as JSON, in the format of Dailymotion's own API."""

    async def test_the_response_has_exactly_the_requested_formats(self, edge):
        response = await edge.get(build_stream_urls_url(edge, ",".join(ALL_FIELDS)))

        assert (response.status, list(response.json)) == (200, ALL_FIELDS)
        assert [name for name, url in response.json.items() if url is None] == [
            "stream_live_hls_url",
            "stream_h264_hd1080_url",
            "stream_h264_qhd_url",
            "stream_h264_uhd_url",
        ]
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert response.headers["Cache-Control"] == "no-store"

    async def test_a_format_that_the_video_does_not_have_is_null(self, edge):
        for video, field in (("x8demo1", "stream_h264_uhd_url"), ("x8live1", "stream_hls_url")):
            assert (await edge.get(build_stream_urls_url(edge, field, video))).json == {field: None}

    async def test_a_live_channel_has_only_a_live_url(self, edge):
        response = await edge.get(
            build_stream_urls_url(edge, "stream_hls_url,stream_live_hls_url", "x8live1")
        )

        assert response.json["stream_hls_url"] is None
        assert (await edge.get(response.json["stream_live_hls_url"])).body.startswith(b"#EXTM3U")

    async def test_the_urls_work_only_from_the_clients_address(self, edge):
        url = build_stream_urls_url(edge, "stream_hls_url,stream_h264_url")
        for stream in (await edge.get(url, source="127.0.0.7")).json.values():
            assert (await edge.get(stream, source="127.0.0.7")).status == 200
            assert (await edge.get(stream, source="127.0.0.8")).status == 403

    @pytest.mark.parametrize("query", ["&client_ip=127.0.0.8", "&client_ip="])
    async def test_client_ip_in_the_query_is_refused(self, edge, query):
        response = await edge.get(build_stream_urls_url(edge, "stream_hls_url", query=query))

        assert (response.status, response.reason) == (400, "request-invalid")
        assert "client_ip cannot be chosen" in response.json["detail"]

    @pytest.mark.parametrize(
        ("query", "reason"),
        [
            ("video_id=x8demo1&formats=stream_hls_url", "token-missing"),
            ("video_id=x8demo1&formats=stream_hls_url&token=x", "token-malformed"),
            ("video_id=x8live1&formats=stream_hls_url&token={token}", "token-video"),
            ("video_id=../x&formats=stream_hls_url&token={token}", "video-not-found"),
            ("video_id=x8demo1&video_id=x8live1&formats=stream_hls_url&token={token}", "request-invalid"),
            ("formats=stream_hls_url&token={token}", "request-invalid"),
            ("video_id=x8demo1&token={token}", "request-invalid"),
            ("video_id=x8demo1&formats=private_id&token={token}", "request-invalid"),
            ("video_id=x8demo1&formats=title,stream_hls_url&token={token}", "request-invalid"),
        ],
    )  # fmt: skip
    async def test_invalid_tokens_and_unknown_fields_are_refused(
        self, edge, sandbox, query, reason
    ):
        before = sandbox.controls.calls["video"]
        url = f"{edge.player}/stream-urls?{query.replace('{token}', edge.mint())}"

        assert (await edge.get(url)).reason == reason
        assert sandbox.controls.calls["video"] == before

    @pytest.mark.parametrize(
        ("video", "reason"),
        [("x8null", "stream-unavailable"), ("x8offair", "live-off-air"), ("x8geo", "video-geoblocked"), ("x8elsewhere", "stream-host-not-allowed")],
    )  # fmt: skip
    async def test_a_video_without_any_stream_is_refused(self, edge, video, reason):
        formats = "stream_hls_url,stream_live_hls_url"

        assert (await edge.get(build_stream_urls_url(edge, formats, video))).reason == reason

    async def test_a_token_with_limits_gets_no_stream_urls(self, edge):
        token = edge.mint(limits=VariantLimits(max_height=480))
        response = await edge.get(build_stream_urls_url(edge, "stream_hls_url", token=token))

        assert response.reason == "format-unavailable"
        assert "its stream URLs are not available" in response.json["detail"]

    async def test_a_relayed_video_gets_no_stream_urls(self, sandbox):
        rules = {"delivery": {"rules": [{"videos": "x8live1", "mode": "relay"}]}}
        async with run_test_edge(sandbox, **rules) as edge:
            relayed = await edge.get(build_stream_urls_url(edge, "stream_live_hls_url", "x8live1"))

            assert relayed.reason == "format-unavailable"
            assert (await edge.get(build_stream_urls_url(edge, "stream_hls_url"))).status == 200

    async def test_an_unplayable_playlist_is_refused_in_validate_mode(self, sandbox):
        async with run_test_edge(sandbox, delivery={"mode": "validate"}) as edge:
            for _ in range(2):
                await edge.play("x8empty")
                await asyncio.sleep(1.1)  # a failed check is repeated after one second
            url = build_stream_urls_url(edge, "stream_hls_url", "x8empty")

            async def is_refused() -> bool:
                return (await edge.get(url)).reason == "playlist-invalid"

            await wait_until(is_refused)
            file = build_stream_urls_url(edge, "stream_h264_url", "x8demo1")
            assert (await edge.get(file)).status == 200

    async def test_a_bearer_token_is_accepted_and_the_request_counts_as_a_play(self, edge):
        url = f"{edge.player}/stream-urls?video_id=x8demo1&formats=stream_hls_url"
        response = await edge.get(url, headers={"Authorization": f"Bearer {edge.mint()}"})

        assert response.status == 200
        assert await edge.metric("playgate_plays_total") == {'outcome="listed"': 1}
        assert edge.lines()[-1]["route"] == "stream-urls"
        assert "sec=" not in edge.log.getvalue()
        assert URL(response.json["stream_hls_url"]).query["sec"]
