"""Relayed playlists: their URIs, their text, live reloads, and when playlists are relayed."""

import re
from urllib.parse import urlsplit

import aiohttp
import m3u8
import pytest
from aiohttp import web
from support import NOW, StillClock, run_test_edge
from web.relay.relay_edge import (
    PLAYLIST_HEADERS,
    RELAY,
    fetch_media_playlist,
    find_relay_paths,
    run_edge_and_cdn,
)

from proxy.sandbox.controls import Fault

LOW_LATENCY = (
    "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-PART-INF:PART-TARGET=1\n"
    "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=3,CAN-SKIP-UNTIL=24\n#EXTINF:4,\n1.ts\n"
)


@pytest.mark.parametrize("video", ["x8demo1", "x8live1", "x8keys1", "x8fmp41"])
async def test_every_uri_of_a_video_is_served_through_the_edge(edge, sandbox, video):
    """This includes playlists, segments, keys, initialization sections and subtitles."""
    first = await edge.play(video)
    queue = [urlsplit(uri).path for uri in find_relay_paths(first.body)]
    fetched: set[str] = set()
    media_types: set[str] = set()
    while queue:
        path = queue.pop()
        response = await edge.get(edge.player + path)
        fetched.add(path)
        assert response.status == 200, (path, response.body)
        media_types.add(response.headers["Content-Type"])
        if path.endswith("/playlist.m3u8"):
            text = response.body.decode()
            assert sandbox.origin not in text and "sec=" not in text
            queue += [uri for uri in find_relay_paths(response.body, path) if uri not in fetched]

    expected = {
        "application/vnd.apple.mpegurl",
        "video/mp4" if video == "x8fmp41" else "video/mp2t",
    }
    expected |= {"application/octet-stream"} if video == "x8keys1" else set()
    expected |= set() if video == "x8live1" else {"text/vtt; charset=utf-8"}
    assert media_types == expected
    assert len(fetched) >= 7


async def test_a_relayed_playlist_differs_from_the_upstream_only_in_its_uris(edge, sandbox):
    relayed = (await edge.play()).body.decode()
    async with run_test_edge(sandbox) as redirecting:
        direct = (await edge.get((await redirecting.play()).location)).body.decode()

    def mask_uris(text: str) -> str:
        return re.sub(r'(http|/relay)[^\s"#]+', "URI", text)

    assert mask_uris(relayed) == mask_uris(direct)
    assert "#cell=cf4" in relayed


async def test_playlist_responses_are_complete_and_carry_the_edges_headers(edge):
    path, _ = await fetch_media_playlist(edge)
    for url in (edge.play_url(), edge.player + path):
        for headers in (
            {"Range": "bytes=0-"},
            {"If-None-Match": "*"},
            {"If-Range": "x", "Range": "bytes=5-"},
        ):
            response = await edge.get(url, headers=headers)
            assert response.status == 200 and response.body.startswith(b"#EXTM3U")
            assert response.headers["Content-Type"] == "application/vnd.apple.mpegurl"
            assert response.headers["Cache-Control"] == "no-store"
            assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert (await edge.get(url, method="HEAD")).status == 200
        assert (await edge.get(url, method="OPTIONS")).status == 204
        assert (await edge.get(url, method="POST")).status == 405


async def test_playlists_are_compressed_for_clients_that_accept_gzip(edge):
    path, body = await fetch_media_playlist(edge)
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        async with session.get(edge.player + path, headers={"Accept-Encoding": "gzip"}) as response:
            compressed = await response.read()
            assert response.headers["Content-Encoding"] == "gzip"
        async with session.get(
            edge.player + path, headers={"Accept-Encoding": "identity"}
        ) as response:
            assert "Content-Encoding" not in response.headers

    assert len(compressed) < len(body) / 2


async def test_a_live_playlist_keeps_the_uris_of_its_segments(sandbox):
    clock = StillClock(NOW)
    sandbox.now = clock.now
    async with run_test_edge(sandbox, clock=clock, **RELAY) as edge:
        path, first = await fetch_media_playlist(edge, "x8live1")
        clock.advance(4)
        second = (await edge.get(edge.player + path)).body

    assert find_relay_paths(first, path)[2:] == find_relay_paths(second, path)[:-2]
    assert (
        m3u8.loads(second.decode()).media_sequence == m3u8.loads(first.decode()).media_sequence + 2
    )


@pytest.mark.parametrize("end", ["#EXT-X-ENDLIST\n", "#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-ENDLIST\n"])
async def test_a_playlist_that_was_seen_to_grow_keeps_its_uris_when_it_ends(edge, sandbox, end):
    """The ended playlist still belongs to the session whose playlist grew."""
    head = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n"
    segments = [f"#EXTINF:4,\n{sandbox.origin}/seg{n}.ts\n" for n in range(9)]
    response = await edge.play("x8live1")
    path = find_relay_paths(response.body)[0]
    bodies = []
    for text in ("".join(segments[:8]), "".join(segments) + end):
        sandbox.controls.set_fault(
            "playlist", Fault(status=200, body=head + text, headers=PLAYLIST_HEADERS)
        )
        bodies.append((await edge.get(edge.player + path)).body)

    assert find_relay_paths(bodies[0], path) == find_relay_paths(bodies[1], path)[:8]


async def test_a_blocking_reload_waits_for_the_requested_segment(edge):
    path, body = await fetch_media_playlist(edge, "x8live2")
    newest = m3u8.loads(body.decode()).media_sequence + 5
    response = await edge.get(f"{edge.player}{path}?_HLS_msn={newest + 1}")
    reloaded = m3u8.loads(response.body.decode())

    assert "CAN-BLOCK-RELOAD=YES" in response.body.decode()
    assert reloaded.media_sequence + len(reloaded.segments) - 1 >= newest + 1
    assert set(find_relay_paths(body, path)) & set(find_relay_paths(response.body, path))


async def test_only_delivery_directives_of_the_query_reach_the_upstream(edge, sandbox):
    queries: list[str] = []

    async def send_playlist(request: web.Request) -> web.Response:
        queries.append(request.rel_url.raw_query_string)
        return web.Response(text=LOW_LATENCY)

    async with run_edge_and_cdn(sandbox, {"/m.m3u8": send_playlist}) as (other, origin):
        for url in (f"{origin}/m.m3u8", f"{origin}/m.m3u8?sec=a%2fb"):
            text = f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{url}\n"
            sandbox.controls.set_fault(
                "playlist", Fault(status=200, body=text, headers=PLAYLIST_HEADERS)
            )
            (path,) = find_relay_paths((await other.play()).body)
            query = "?_HLS_skip=v2&_HLS_part=3&_HLS_msn=12&_HLS_pathway=a"
            # The first response announces blocking reloads; only then are they passed on.
            for _ in range(2):
                assert (await other.get(other.player + path + query)).status == 200

    directives = "_HLS_msn=12&_HLS_part=3&_HLS_skip=v2"
    assert queries == [
        "_HLS_skip=v2",
        directives,
        "sec=a%2fb&_HLS_skip=v2",
        f"sec=a%2fb&{directives}",
    ]


async def test_delivery_rules_choose_the_mode_by_video(start_edge):
    rules = [{"videos": "x8demo.*", "mode": "relay"}, {"videos": "x8live1", "mode": "validate"}]
    edge = await start_edge(delivery={"mode": "redirect", "rules": rules})

    assert (await edge.play("x8demo1")).status == 200
    assert (await edge.play("x8live1")).status == 302
    assert (await edge.play("x8keys1")).status == 302
    assert (await edge.metric("playgate_playlist_checks_total")) == {'verdict="ok"': 1}


@pytest.mark.parametrize(
    ("families", "status"), [(["ipv6"], 200), (["ipv4"], 302), (["ipv4", "ipv6"], 302)]
)  # fmt: skip  # one case per line
async def test_viewers_are_relayed_if_the_cdn_lacks_their_address_family(
    start_edge, families, status
):
    edge = await start_edge(delivery={"cdn_families": families})

    assert (await edge.play()).status == status


async def test_a_playlist_is_relayed_in_canonical_form(edge, sandbox):
    """Without BOM, CR, blank lines, and unknown tags that players may read differently."""
    body = '\ufeff#EXTM3U\r\n#EXT-X-TARGETDURATION:4\r\n#EXT-X-ODD:é,"\r\n\r\n#EXT-X-CUE-OUT:30\r\n#EXTINF:4,café\r\nseg1.ts\r\n'
    path = find_relay_paths((await edge.play()).body)[0]

    async def send_playlist(_request: web.Request) -> web.Response:
        return web.Response(body=body.encode(errors="surrogateescape"))

    async with run_edge_and_cdn(sandbox, {"/odd.m3u8": send_playlist}) as (other, origin):
        location = (("Location", f"{origin}/odd.m3u8"),)
        sandbox.controls.set_fault("playlist", Fault(status=302, headers=location))
        response = await other.get(other.player + path)

    assert re.sub(r"\S+seg1.ts", "seg1.ts", response.body.decode()) == (
        "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-CUE-OUT:30\n#EXTINF:4,café\nseg1.ts\n"
    )


async def test_a_stream_url_that_is_a_media_playlist_is_wrapped_in_a_multivariant_playlist(
    edge, sandbox
):
    """Otherwise players would reload the media playlist from /play and start a new session."""
    text = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nseg1.ts\n"
    sandbox.controls.set_fault("playlist", Fault(status=200, body=text, headers=PLAYLIST_HEADERS))
    first = await edge.play("x8live1")
    (path,) = find_relay_paths(first.body)
    response = await edge.get(edge.player + path)

    assert m3u8.loads(first.body.decode()).is_variant
    assert m3u8.loads(response.body.decode()).segments[0].duration == 4
