"""MP4 under /play, and /stream-urls: the guide's formats for whoever has a token for them."""

import asyncio

import pytest
from support import an_edge, eventually
from yarl import URL

from proxy.domain.formats import MP4_FILES
from proxy.domain.variant_limits import VariantLimits

RELAY = {"delivery": {"mode": "relay"}}
ALL = ["stream_hls_url", "stream_live_hls_url", *(it.field for it in MP4_FILES.values())]


def file_url(edge, query: str = "", video: str = "x8demo1", token: str = "") -> str:
    return f"{edge.player}/play/{video}.mp4?token={token or edge.mint(video)}{query}"


def urls_url(edge, formats: str, video: str = "x8demo1", token: str = "", more: str = "") -> str:
    token = token or edge.mint(video)
    return f"{edge.player}/stream-urls?video_id={video}&formats={formats}&token={token}{more}"


@pytest.mark.parametrize(
    ("quality", "size"),
    [("sd", "512x384"), ("hq", "720x480"), ("hd", "1280x720"), ("uhd", "1280x720")],
)
async def test_a_player_is_sent_to_the_best_file_at_or_under_what_it_asks_for(edge, quality, size):
    answer = await edge.get(file_url(edge, f"&quality={quality}"))

    assert answer.status == 302
    assert f"/cdn/H264-{size}/video/x8demo1.mp4?sec=" in answer.location
    file = await edge.get(answer.location)
    assert (file.status, file.headers["Content-Type"]) == (200, "video/mp4")
    assert file.body[4:8] == b"ftyp"
    part = await edge.get(answer.location, headers={"Range": "bytes=4-7"})
    assert (part.status, part.body) == (206, b"ftyp")


async def test_the_file_is_the_viewers_own(edge):
    url = (await edge.get(file_url(edge), source="127.0.0.7")).location

    assert (await edge.get(url, source="127.0.0.7")).status == 200
    assert (await edge.get(url, source="127.0.0.8")).status == 403


async def test_without_a_quality_it_is_hd(edge):
    assert "H264-1280x720" in (await edge.get(file_url(edge))).location


async def test_exactly_a_quality_or_a_list_of_what_there_is(edge):
    assert (await edge.get(file_url(edge, "&quality=hd&exact=1"))).status == 302
    answer = await edge.get(file_url(edge, "&quality=uhd&exact=1"))

    assert (answer.status, answer.reason) == (404, "format-unavailable")
    assert answer.json["detail"] == "This video has no MP4 uhd. Available: sd, hq, hd."


@pytest.mark.parametrize(
    ("video", "reason", "says"),
    [
        ("x8tall1", "format-unavailable", "no MP4 at or below hd. Available: hd1080, qhd, uhd."),
        ("x8live1", "format-unavailable", "No MP4 is available. Try HLS (.m3u8)."),
        ("x8offair", "live-off-air", "off air"),
        ("x8null", "stream-unavailable", "no stream right now"),
        ("x8missing", "video-not-found", "video does not exist"),
        ("x8geo", "video-geoblocked", "not available in your country"),
    ],
)
async def test_why_there_is_no_file(edge, video, reason, says):
    answer = await edge.get(file_url(edge, video=video))

    assert answer.reason == reason and says in answer.json["detail"]


async def test_a_download_is_asked_for_at_the_cdn(edge):
    url = (await edge.get(file_url(edge, "&download=1"))).location

    assert url.endswith("&download=1")
    file = await edge.get(url)
    assert file.headers["Content-Disposition"] == 'attachment; filename="x8demo1.mp4"'


async def test_a_query_that_cannot_be_meant_is_refused_without_a_call(edge, sandbox):
    before = sandbox.controls.calls["video"]
    answer = await edge.get(file_url(edge, "&quality=best"))

    assert (answer.status, answer.reason) == (400, "request-invalid")
    assert "sd, hq, hd, hd1080, qhd, uhd" in answer.json["detail"]
    assert sandbox.controls.calls["video"] == before


async def test_head_and_preflight(edge):
    assert (await edge.get(file_url(edge), method="HEAD")).status == 302
    answer = await edge.get(f"{edge.player}/play/x8demo1.mp4", method="OPTIONS")
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (204, "*")


async def test_a_token_for_one_format_opens_no_other(edge):
    hls, mp4 = edge.mint(formats=["hls"]), edge.mint(formats=["mp4"])

    assert (await edge.get(file_url(edge, token=mp4))).status == 302
    assert (await edge.get(file_url(edge, token=hls))).reason == "token-format"
    assert (await edge.get(edge.play_url(token=hls))).status == 302
    assert (await edge.get(edge.play_url(token=mp4))).reason == "token-format"
    assert (await edge.get(urls_url(edge, "stream_hls_url", token=hls))).status == 200
    both = "stream_hls_url,stream_h264_url"
    assert (await edge.get(urls_url(edge, both, token=hls))).reason == "token-format"
    assert (await edge.get(urls_url(edge, both, token=mp4))).reason == "token-format"


async def test_identical_requests_share_a_call_and_others_do_not(edge, sandbox):
    await edge.play()
    sandbox.controls.hold("video", until=2)
    before = sandbox.controls.calls["video"]
    answers = await asyncio.gather(
        *(edge.get(file_url(edge)) for _ in range(5)), *(edge.play() for _ in range(5))
    )

    assert {answer.status for answer in answers} == {302}
    assert sandbox.controls.calls["video"] == before + 2


class TestRelayed:
    """Where playlists go through the edge, files do too."""

    async def test_a_file_is_relayed_with_ranges(self, sandbox):
        async with an_edge(sandbox, **RELAY) as edge:
            path = (await edge.get(file_url(edge), source="127.0.0.7")).location
            assert path.startswith("/relay/bytes/") and "sec=" not in path
            assert await edge.metric("playgate_plays_total") == {'outcome="relayed"': 1}
            file = await edge.get(f"{edge.player}{path}", source="127.0.0.8")
            part = await edge.get(
                f"{edge.player}{path}", source="127.0.0.7", headers={"Range": "bytes=4-7"}
            )

            assert (file.status, file.headers["Content-Type"]) == (200, "video/mp4")
            assert (part.status, part.body) == (206, b"ftyp")
            elsewhere = await edge.get(f"{edge.player}{path}", source="127.0.1.1")
            assert elsewhere.reason == "seal-network"

    async def test_a_download_is_one_through_the_relay_too(self, sandbox):
        async with an_edge(sandbox, **RELAY) as edge:
            path = (await edge.get(file_url(edge, "&download=1"))).location
            file = await edge.get(f"{edge.player}{path}")

            assert file.headers["Content-Disposition"] == 'attachment; filename="x8demo1.mp4"'

    async def test_a_limit_holds_however_much_is_asked_for(self, edge):
        token = edge.mint(limits=VariantLimits(max_height=480))
        path = (await edge.get(file_url(edge, "&quality=uhd", token=token))).location
        services = edge.edge.apps.services
        sealed = services.relay.find_bytes(path, [])

        assert "/H264-720x480/" in sealed.url
        answer = await edge.get(file_url(edge, "&quality=hd&exact=1", token=token))
        assert answer.reason == "format-unavailable"
        assert "Available within the limits of this token or service: sd, hq." in answer.json["detail"]

    async def test_a_bandwidth_limit_has_no_file_that_says_it_keeps_it(self, edge):
        token = edge.mint(limits=VariantLimits(max_bandwidth=10**9))

        assert (await edge.get(file_url(edge, token=token))).reason == "format-unavailable"


class TestStreamUrls:
    """The JSON that Dailymotion's guide has."""

    async def test_every_format_that_was_asked_for_and_nothing_else(self, edge):
        answer = await edge.get(urls_url(edge, ",".join(ALL)))

        assert (answer.status, list(answer.json)) == (200, ALL)
        assert [name for name, url in answer.json.items() if url is None] == [
            "stream_live_hls_url",
            "stream_h264_hd1080_url",
            "stream_h264_qhd_url",
            "stream_h264_uhd_url",
        ]
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["Cache-Control"] == "no-store"

    async def test_a_format_that_a_playing_video_lacks_is_null(self, edge):
        for video, field in (("x8demo1", "stream_h264_uhd_url"), ("x8live1", "stream_hls_url")):
            assert (await edge.get(urls_url(edge, field, video))).json == {field: None}

    async def test_a_live_channel(self, edge):
        answer = await edge.get(urls_url(edge, "stream_hls_url,stream_live_hls_url", "x8live1"))

        assert answer.json["stream_hls_url"] is None
        assert (await edge.get(answer.json["stream_live_hls_url"])).body.startswith(b"#EXTM3U")

    async def test_the_urls_are_for_the_address_that_asks(self, edge):
        url = urls_url(edge, "stream_hls_url,stream_h264_url")
        for stream in (await edge.get(url, source="127.0.0.7")).json.values():
            assert (await edge.get(stream, source="127.0.0.7")).status == 200
            assert (await edge.get(stream, source="127.0.0.8")).status == 403

    @pytest.mark.parametrize("more", ["&client_ip=127.0.0.8", "&client_ip="])
    async def test_nobody_names_another_address(self, edge, more):
        answer = await edge.get(urls_url(edge, "stream_hls_url", more=more))

        assert (answer.status, answer.reason) == (400, "request-invalid")
        assert "client_ip cannot be chosen" in answer.json["detail"]

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
    async def test_the_same_token_rules_and_known_fields_only(self, edge, sandbox, query, reason):
        before = sandbox.controls.calls["video"]
        url = f"{edge.player}/stream-urls?{query.replace('{token}', edge.mint())}"

        assert (await edge.get(url)).reason == reason
        assert sandbox.controls.calls["video"] == before

    @pytest.mark.parametrize(
        ("video", "reason"),
        [("x8null", "stream-unavailable"), ("x8offair", "live-off-air"), ("x8geo", "video-geoblocked"), ("x8elsewhere", "stream-host-not-allowed")],
    )  # fmt: skip
    async def test_a_video_without_any_stream_is_a_refusal(self, edge, video, reason):
        formats = "stream_hls_url,stream_live_hls_url"

        assert (await edge.get(urls_url(edge, formats, video))).reason == reason

    async def test_a_token_with_limits_gets_no_url_that_has_none(self, edge):
        token = edge.mint(limits=VariantLimits(max_height=480))
        answer = await edge.get(urls_url(edge, "stream_hls_url", token=token))

        assert answer.reason == "format-unavailable"
        assert "its stream URLs are not given out" in answer.json["detail"]

    async def test_what_is_relayed_has_no_url_that_leads_past_the_relay(self, sandbox):
        rules = {"delivery": {"rules": [{"videos": "x8live1", "mode": "relay"}]}}
        async with an_edge(sandbox, **rules) as edge:
            relayed = await edge.get(urls_url(edge, "stream_live_hls_url", "x8live1"))

            assert relayed.reason == "format-unavailable"
            assert (await edge.get(urls_url(edge, "stream_hls_url"))).status == 200

    async def test_what_no_player_could_play_is_refused_where_it_is_checked(self, sandbox):
        async with an_edge(sandbox, delivery={"mode": "validate"}) as edge:
            for _ in range(2):
                await edge.play("x8empty")
                await asyncio.sleep(1.1)  # a bad check is repeated after a second
            url = urls_url(edge, "stream_hls_url", "x8empty")

            async def is_refused() -> bool:
                return (await edge.get(url)).reason == "playlist-invalid"

            await eventually(is_refused)
            file = urls_url(edge, "stream_h264_url", "x8demo1")
            assert (await edge.get(file)).status == 200

    async def test_a_token_in_a_header_does_as_well_and_plays_are_counted(self, edge):
        url = f"{edge.player}/stream-urls?video_id=x8demo1&formats=stream_hls_url"
        answer = await edge.get(url, headers={"Authorization": f"Bearer {edge.mint()}"})

        assert answer.status == 200
        assert await edge.metric("playgate_plays_total") == {'outcome="listed"': 1}
        assert edge.lines()[-1]["route"] == "stream-urls"
        assert "sec=" not in edge.log.getvalue()
        assert URL(answer.json["stream_hls_url"]).query["sec"]
