"""Asset lists and steering manifests through the relay, and templates that viewers share."""

import json

import pytest
from aiohttp import web
from relay_stack import find_relay_paths
from support import PLAYLIST_HEADERS, run_test_edge
from web.relay.relay_edge import run_edge_and_cdn

from proxy.sandbox.controls import Fault

MASTER = (
    '#EXTM3U\n#EXT-X-CONTENT-STEERING:SERVER-URI="steering.json?sig=SECRET",PATHWAY-ID="a"\n'
    '#EXT-X-STREAM-INF:BANDWIDTH=1,PATHWAY-ID="a"\nm.m3u8\n'
)
MEDIA = (
    "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-PROGRAM-DATE-TIME:2026-11-28T10:00:00Z\n"
    '#EXT-X-DATERANGE:ID="ad",CLASS="com.apple.hls.interstitial",START-DATE="2026-11-28T10:00:04Z",X-ASSET-LIST="ads/list.json?sig=SECRET"\n'
    "#EXTINF:4,\n1.ts\n#EXTINF:4,\n2.ts\n"
)
ASSETS = {"ASSETS": [{"URI": "ad.m3u8?sig=SECRET", "DURATION": 4}, {"URI": "https://ads.example/"}]}
STEERING = {"VERSION": 1, "TTL": 60, "RELOAD-URI": "again.json", "PATHWAY-PRIORITY": ["a"]}


async def test_lists_are_relayed_with_their_directives(sandbox):
    requested: list[str] = []

    async def serve(request: web.Request) -> web.Response:
        requested.append(request.rel_url.raw_path_qs)
        texts = {"m.m3u8": MEDIA, "list.json": json.dumps(ASSETS), "ad.m3u8": MEDIA}
        name = request.path.rpartition("/")[2]
        return web.Response(text=texts.get(name, json.dumps(STEERING)))

    async with run_edge_and_cdn(sandbox, {"/v/{path:.*}": serve}) as (edge, origin):
        text = MASTER.replace("steering.json", f"{origin}/v/steering.json").replace(
            "m.m3u8", f"{origin}/v/m.m3u8"
        )
        fault = Fault(status=200, body=text, headers=PLAYLIST_HEADERS)
        sandbox.controls.set_fault("playlist", fault)
        first = (await edge.play()).body
        steering, media = find_relay_paths(first)
        manifest = await edge.get(
            f"{edge.player}{steering}?_HLS_pathway=a&_HLS_throughput=1&CMCD=x"
        )
        playlist = await edge.get(edge.player + media)
        assets_path = find_relay_paths(playlist.body, media)[0]
        query = "?_HLS_primary_id=4F-1&_HLS_start_offset=1.5&_HLS_msn=1"
        assets = await edge.get(f"{edge.player}{assets_path}{query}")
        again = await edge.get(edge.player + manifest.json["RELOAD-URI"])
        asset = assets.json["ASSETS"][0]["URI"]
        assert asset.startswith("http://127.0.0.1:8080/relay/")  # web.public_url
        ad = await edge.get(edge.player + asset.removeprefix("http://127.0.0.1:8080"))

    bodies = [first, *(response.body for response in (manifest, playlist, again, ad))]
    bodies.append(assets.body.replace(b"127.0.0.1:8080", b""))
    assert not any(b"SECRET" in body or b"127.0.0.1" in body for body in bodies)
    assert manifest.headers["Content-Type"].startswith("application/json")
    assert manifest.json["PATHWAY-PRIORITY"] == ["a"] == again.json["PATHWAY-PRIORITY"]
    assert [asset["DURATION"] for asset in assets.json["ASSETS"]] == [4]
    assert ad.body.startswith(b"#EXTM3U")
    assert requested == [
        "/v/steering.json?sig=SECRET&_HLS_pathway=a&_HLS_throughput=1",
        "/v/m.m3u8",
        "/v/ads/list.json?sig=SECRET&_HLS_primary_id=4F-1&_HLS_start_offset=1.5",
        "/v/again.json",
        "/v/ads/ad.m3u8?sig=SECRET",
    ]


@pytest.mark.parametrize(
    ("host", "public_url", "origin"),
    [
        ("play.example.com", "", "//play.example.com"),
        ("play.example.com:8443", "", "//play.example.com:8443"),
        ("[2001:db8::1]:8443", "", "//[2001:db8::1]:8443"),
        ('a"b', "", ""),
        ("a/b", "", ""),
        ("user@a", "", ""),
        ("", "", ""),
        ("other.example", "https://play.example.com", "https://play.example.com"),
    ],
)
async def test_an_interstitials_asset_has_the_origin_that_the_viewer_sees(
    sandbox, host, public_url, origin
):
    """hls.js resolves X-ASSET-URI against the page, which has another origin."""
    media = MEDIA.replace("X-ASSET-LIST", "X-ASSET-URI")
    sandbox.controls.set_fault("playlist", Fault(status=200, body=media, headers=PLAYLIST_HEADERS))
    options = {"delivery": {"mode": "relay"}, "web": {"public_url": public_url}}
    async with run_test_edge(sandbox, **options) as edge:
        (path,) = find_relay_paths((await edge.play()).body)
        response = await edge.get(edge.player + path, headers={"Host": host})

    assert f'X-ASSET-URI="{origin}/relay/'.encode() in response.body


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("<html>", "platform-bad-response"),
        ('{"VERSION":1}', "platform-bad-response"),
        (" " * 300_000, "playlist-too-large"),
    ],
)
async def test_a_body_that_is_no_list_is_refused(sandbox, body, reason):
    async def serve(_request: web.Request) -> web.Response:
        return web.Response(text=body)

    async with run_edge_and_cdn(sandbox, {"/s.json": serve}) as (edge, origin):
        text = MASTER.replace("steering.json?sig=SECRET", f"{origin}/s.json")
        fault = Fault(status=200, body=text, headers=PLAYLIST_HEADERS)
        sandbox.controls.set_fault("playlist", fault)
        steering = find_relay_paths((await edge.play()).body)[0]
        response = await edge.get(edge.player + steering)

    assert response.reason == reason


async def test_viewers_share_a_template_and_never_see_each_others_signature(sandbox):
    """The stream URL has each viewer's signature in its path; the playlist is the same for all."""
    requested: list[str] = []

    async def serve(request: web.Request) -> web.Response:
        requested.append(request.rel_url.raw_path)
        if request.path.endswith(".m3u8"):
            return web.Response(text=MEDIA.replace("ads/list.json?sig=SECRET", "list.json"))
        return web.Response(body=b"G")

    viewers = ["127.0.1.5", "127.0.2.5", "127.0.3.5", "127.0.4.5"]
    async with run_edge_and_cdn(sandbox, {"/{path:.*}": serve}) as (edge, origin):
        bodies = []
        for n, viewer in enumerate(viewers):
            location = ("Location", f"{origin}/sec2(signature-of-viewer-{n})/m.m3u8")
            sandbox.controls.set_fault("playlist", Fault(status=302, headers=(location,)))
            (path,) = find_relay_paths((await edge.play(source=viewer)).body)
            playlist = await edge.get(edge.player + path, source=viewer)
            bodies.append(playlist.body)
            segment = find_relay_paths(playlist.body, path)[1]
            requested.clear()
            assert (await edge.get(edge.player + segment, source=viewer)).status == 200
            assert requested == [f"/sec2(signature-of-viewer-{n})/1.ts"]
        templates = await edge.metric("playgate_playlist_templates_total")

    assert templates['result="cached"'] >= 4
    assert not any(b"signature" in body for body in bodies)
    assert len(set(bodies)) == len(viewers)
