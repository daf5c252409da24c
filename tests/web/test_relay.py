"""The relay end to end: everything of a video through paths of ours, and nothing else."""

import asyncio
import contextlib
import re
import resource
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from socket import SO_RCVBUF, SOL_SOCKET
from urllib.parse import urlsplit

import aiohttp
import jwt
import m3u8
import pytest
from aiohttp import web
from support import NOW, OPERATOR_KEY, SECRET, StillClock, an_edge, eventually, serving

from proxy.adapters.dailymotion.cdn import CHUNK_BYTES
from proxy.domain.reasons import Refusal
from proxy.domain.seal import SealKey, Session
from proxy.domain.sealed_paths import Sealer
from proxy.domain.variant_limits import VariantLimits
from proxy.domain.video import VideoId
from proxy.edge import playlist_checker
from proxy.edge.relay_sessions import MAX_PER_SESSION
from proxy.sandbox.controls import Fault
from proxy.settings import Settings

RELAY = {"delivery": {"mode": "relay"}}
LOW_LATENCY = (
    "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-PART-INF:PART-TARGET=1\n"
    "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=3,CAN-SKIP-UNTIL=24\n#EXTINF:4,\n1.ts\n"
)
M3U8 = (("Content-Type", "application/vnd.apple.mpegurl"),)


@pytest.fixture
async def edge(sandbox):
    async with an_edge(sandbox, **RELAY) as running:
        yield running


def uris(body: bytes) -> list[str]:
    return re.findall(r"/relay/[^\s\"#]+", body.decode())


async def media_of(edge, video: str = "x8demo1", **options) -> tuple[str, bytes]:
    """Return the path and the body of a relayed video's first media playlist."""
    answer = await edge.play(video, **options)
    assert answer.status == 200, answer.body
    path = uris(answer.body)[0]
    answer = await edge.get(edge.player + path, **options)
    assert answer.status == 200, answer.body
    return path, answer.body


@pytest.mark.parametrize("video", ["x8demo1", "x8live1", "x8keys1", "x8fmp41"])
async def test_everything_that_a_video_names_comes_through_the_edge(edge, sandbox, video):
    """Playlists, segments, keys, initialization sections and subtitles, each as the CDN has it."""
    first = await edge.play(video)
    queue, seen = [urlsplit(uri).path for uri in uris(first.body)], set()
    kinds: set[str] = set()
    while queue:
        path = queue.pop()
        answer = await edge.get(edge.player + path)
        seen.add(path)
        assert answer.status == 200, (path, answer.body)
        kinds.add(answer.headers["Content-Type"])
        if path.startswith("/relay/playlist/"):
            assert sandbox.origin not in answer.body.decode() and "sec=" not in answer.body.decode()
            queue += [uri for uri in uris(answer.body) if uri not in seen]

    expected = {
        "application/vnd.apple.mpegurl",
        "video/mp4" if video == "x8fmp41" else "video/mp2t",
    }
    expected |= {"application/octet-stream"} if video == "x8keys1" else set()
    expected |= set() if video == "x8live1" else {"text/vtt; charset=utf-8"}
    assert kinds == expected
    assert len(seen) >= 7


async def test_the_playlist_is_the_upstreams_but_for_its_uris(edge, sandbox):
    relayed = (await edge.play()).body.decode()
    async with an_edge(sandbox) as other:
        direct = (await edge.get((await other.play()).location)).body.decode()

    def without_uris(text: str) -> str:
        return re.sub(r'(http|/relay)[^\s"#]+', "URI", text)

    assert without_uris(relayed) == without_uris(direct)
    assert "#cell=cf4" in relayed


async def test_the_edge_resolves_for_its_own_address_and_each_viewer_gets_a_session(edge, sandbox):
    """127.0.0.5 watches what only 127.0.0.1 may fetch."""
    path, _ = await media_of(edge, source="127.0.0.5")
    other, _ = await media_of(edge, source="127.0.0.5")

    assert path != other
    assert sandbox.controls.calls["video"] == 2


async def test_answers_are_whole_playlists_with_our_headers(edge):
    path, _ = await media_of(edge)
    for url in (edge.play_url(), edge.player + path):
        for headers in (
            {"Range": "bytes=0-"},
            {"If-None-Match": "*"},
            {"If-Range": "x", "Range": "bytes=5-"},
        ):
            answer = await edge.get(url, headers=headers)
            assert answer.status == 200 and answer.body.startswith(b"#EXTM3U")
            assert answer.headers["Content-Type"] == "application/vnd.apple.mpegurl"
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert (await edge.get(url, method="HEAD")).status == 200
        assert (await edge.get(url, method="OPTIONS")).status == 204
        assert (await edge.get(url, method="POST")).status == 405


async def test_playlists_are_compressed_for_those_who_take_it(edge):
    path, body = await media_of(edge)
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        async with session.get(edge.player + path, headers={"Accept-Encoding": "gzip"}) as answer:
            packed = await answer.read()
            assert answer.headers["Content-Encoding"] == "gzip"
        async with session.get(
            edge.player + path, headers={"Accept-Encoding": "identity"}
        ) as answer:
            assert "Content-Encoding" not in answer.headers

    assert len(packed) < len(body) / 2


async def test_ranges_and_conditional_requests_work_on_bytes(edge):
    _, body = await media_of(edge)
    url = edge.player + uris(body)[0]
    whole = await edge.get(url)
    part = await edge.get(url, headers={"Range": "bytes=188-375"})
    tail = await edge.get(url, headers={"Range": "bytes=-10"})

    assert (part.status, part.body) == (206, whole.body[188:376])
    assert part.headers["Content-Range"] == f"bytes 188-375/{len(whole.body)}"
    assert (tail.status, tail.body) == (206, whole.body[-10:])
    assert (await edge.get(url, headers={"If-None-Match": whole.headers["ETag"]})).status == 304
    assert (
        await edge.get(url, headers={"If-Modified-Since": whole.headers["Last-Modified"]})
    ).status == 304
    assert (await edge.get(url, headers={"Range": "bytes=99999999-"})).status == 416
    stale = await edge.get(
        url, headers={"Range": "bytes=0-9", "If-Range": "Fri, 01 Jan 2010 00:00:00 GMT"}
    )
    assert (stale.status, len(stale.body)) == (200, len(whole.body))
    head = await edge.get(url, method="HEAD")
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(whole.body)))
    assert (await edge.get(url, method="OPTIONS")).status == 204


@pytest.mark.parametrize("kind", ["playlist", "bytes"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda path: path[:30] + ("A" if path[30] != "A" else "B") + path[31:], "seal-invalid"),
        (lambda path: path + "?token=x", "seal-invalid"),
        (lambda path: path + "?", None),
        (lambda path: path + "?_HLS_msn=1&_HLS_msn=2", "seal-invalid"),
        (lambda path: path + "?_HLS_msn=..%2f", "seal-invalid"),
        (lambda path: path + "?_HLS_skip=", "seal-invalid"),
        (lambda path: path.replace("vod_360", "vod_180") + "x", "seal-invalid"),
        (lambda path: path.rpartition("/")[0] + "/../" + path.rpartition("/")[2], "seal-invalid"),
        (lambda path: path.rpartition("/")[0] + "/%2e%2e/" + path.rpartition("/")[2], "seal-invalid"),
        (lambda path: path.replace("/relay/", "/relay//"), "not-found"),
        (lambda path: path + "/more", "seal-invalid"),
        (lambda path: path.replace("frag(0)", "frag(6)") + ("" if "frag" in path else "x"), "seal-invalid"),
    ],
)  # fmt: skip
async def test_a_changed_path_is_refused_and_never_reaches_the_upstream(
    edge, sandbox, kind, change, reason
):
    path, body = await media_of(edge)
    path = path if kind == "playlist" else uris(body)[0]
    before = sandbox.controls.calls.copy()
    answer = await edge.get(edge.player + change(path))

    if reason is None:
        assert answer.status == 200
        return
    assert (answer.status, answer.reason) == (403 if "seal" in reason else 404, reason)
    assert sandbox.controls.calls == before


async def test_a_playlists_path_is_no_path_of_bytes_and_the_reverse(edge, sandbox):
    path, body = await media_of(edge)
    before = sandbox.controls.calls.copy()
    segment = uris(body)[0]
    for crossed in (
        path.replace("/relay/playlist/", "/relay/bytes/").replace(".m3u8", "/x.m3u8"),
        f"/relay/playlist/{segment.split('/')[3]}.m3u8",
    ):
        assert (await edge.get(edge.player + crossed)).reason == "seal-invalid"
    assert sandbox.controls.calls == before


async def test_directives_for_other_servers_are_dropped(edge):
    _, body = await media_of(edge)

    assert (
        await edge.get(edge.player + uris(body)[0] + "?_HLS_primary_id=a&_HLS_start_offset=1.5")
    ).status == 200


async def test_a_viewer_may_move_within_the_network_and_not_out_of_it(edge, sandbox):
    path, body = await media_of(edge, source="127.0.0.5")
    segment = uris(body)[0]
    for url in (edge.player + path, edge.player + segment):
        assert (await edge.get(url, source="127.0.0.77")).status == 200
    before = sandbox.controls.calls.copy()
    for url in (edge.player + path, edge.player + segment):
        answer = await edge.get(url, source="127.0.1.5")
        assert (answer.status, answer.reason) == (403, "seal-network")
    assert sandbox.controls.calls == before


async def test_a_token_for_a_network_binds_the_session_to_it(edge):
    token = edge.mint(network=ip_network("127.0.0.0/16"))
    answer = await edge.get(edge.play_url(token=token), source="127.0.0.5")

    assert (await edge.get(edge.player + uris(answer.body)[0], source="127.0.200.5")).status == 200


async def test_a_session_outlives_its_token_and_ends_at_its_own_time(sandbox, clock):
    async with an_edge(sandbox, clock=clock, relay={"session_max": 3600}, **RELAY) as edge:
        token = edge.mint("x8live1", ttl=60)
        answer = await edge.get(edge.play_url("x8live1", token))
        path = uris(answer.body)[0]
        clock.advance(61)
        assert (await edge.get(edge.play_url("x8live1", token))).reason == "token-expired"
        body = (await edge.get(edge.player + path)).body
        assert (await edge.get(edge.player + uris(body)[0])).status == 200

        clock.advance(3600 - 61)
        for url in (path, uris(body)[0]):
            answer = await edge.get(edge.player + url)
            assert (answer.status, answer.reason) == (403, "seal-expired")


OLD, NEW = (
    {"secret": "the-old-seal-secret-0123456789abcdef"},
    {"secret": "the-new-seal-secret-0123456789abcdef"},
)


async def test_a_running_session_goes_on_over_a_rotation_of_every_key(sandbox):
    """The seal's key and the token's; the URIs of the children stay the same, too."""
    async with an_edge(sandbox, relay={"keys": [OLD]}, **RELAY) as edge:
        path, before = await media_of(edge)
    other = {"keys": [{"kid": "other", "alg": "HS256", "secret": "x" * 32}]}
    async with an_edge(sandbox, relay={"keys": [NEW, OLD]}, tokens=other, **RELAY) as edge:
        answer = await edge.get(edge.player + path)
        assert (answer.status, answer.body) == (200, before)
        assert (await edge.get(edge.player + uris(before)[0])).status == 200
    async with an_edge(sandbox, relay={"keys": [NEW]}, **RELAY) as edge:
        assert (await edge.get(edge.player + path)).reason == "seal-invalid"


async def test_a_live_playlist_keeps_the_uris_of_its_segments(sandbox):
    clock = StillClock(NOW)
    sandbox.now = clock.now
    async with an_edge(sandbox, clock=clock, **RELAY) as edge:
        path, first = await media_of(edge, "x8live1")
        clock.advance(4)
        second = (await edge.get(edge.player + path)).body

    assert uris(first)[2:] == uris(second)[:-2]
    assert (
        m3u8.loads(second.decode()).media_sequence == m3u8.loads(first.decode()).media_sequence + 2
    )


@pytest.mark.parametrize("end", ["#EXT-X-ENDLIST\n", "#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-ENDLIST\n"])
async def test_a_playlist_that_was_seen_to_grow_keeps_its_uris_when_it_ends(edge, sandbox, end):
    """It is still the same session, although nothing more will come."""
    head = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n"
    grown = [f"#EXTINF:4,\n{sandbox.origin}/seg{n}.ts\n" for n in range(9)]
    answer = await edge.play("x8live1")
    path = edge.player + uris(answer.body)[0]
    bodies = []
    for text in ("".join(grown[:8]), "".join(grown) + end):
        sandbox.controls.set_fault("playlist", Fault(status=200, body=head + text, headers=M3U8))
        bodies.append((await edge.get(path)).body)

    assert uris(bodies[0]) == uris(bodies[1])[:8]


async def test_blocking_reloads_wait_for_what_is_asked_for(edge):
    path, body = await media_of(edge, "x8live2")
    newest = m3u8.loads(body.decode()).media_sequence + 5
    answer = await edge.get(f"{edge.player}{path}?_HLS_msn={newest + 1}")
    after = m3u8.loads(answer.body.decode())

    assert "CAN-BLOCK-RELOAD=YES" in answer.body.decode()
    assert after.media_sequence + len(after.segments) - 1 >= newest + 1
    assert set(uris(body)) & set(uris(answer.body))


async def test_delivery_directives_reach_the_upstream_and_nothing_else_does(edge, sandbox):
    asked: list[str] = []

    async def media(request: web.Request) -> web.Response:
        asked.append(request.rel_url.raw_query_string)
        return web.Response(text=LOW_LATENCY)

    async with a_cdn({"/m.m3u8": media}) as origin:
        hosts = [origin.removeprefix("http://"), sandbox.origin.removeprefix("http://")]
        async with an_edge(sandbox, platform={"allowed_hosts": hosts}, **RELAY) as other:
            for url in (f"{origin}/m.m3u8", f"{origin}/m.m3u8?sec=a%2fb"):
                text = f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{url}\n"
                sandbox.controls.set_fault("playlist", Fault(status=200, body=text, headers=M3U8))
                (path,) = uris((await other.play()).body)
                query = "?_HLS_skip=v2&_HLS_part=3&_HLS_msn=12&_HLS_pathway=a"
                for _ in range(2):  # a playlist that announced nothing yet is served at once
                    assert (await other.get(other.player + path + query)).status == 200

    directives = "_HLS_msn=12&_HLS_part=3&_HLS_skip=v2"
    assert asked == [
        "_HLS_skip=v2",
        directives,
        "sec=a%2fb&_HLS_skip=v2",
        f"sec=a%2fb&{directives}",
    ]


async def test_a_blocking_request_is_had_of_playlists_that_offer_it_alone(sandbox):
    """It waits outside of the concurrency limit, so it must not be a way around that."""
    limits = {"concurrency": 1}
    async with an_edge(sandbox, limits=limits, **RELAY) as edge:
        plain, _ = await media_of(edge, "x8demo1")
        low, _ = await media_of(edge, "x8live2")
        sandbox.controls.hold("playlist")
        first = asyncio.create_task(edge.get(edge.player + plain))
        await eventually(lambda: sandbox.controls.waiting["playlist"] == 1)
        for query in ("?_HLS_msn=9999", "?_HLS_part=1&_HLS_msn=9999"):
            answer = await edge.get(edge.player + plain + query)
            assert (answer.status, answer.reason) == (503, "rate-limited")
        blocking = asyncio.create_task(edge.get(f"{edge.player}{low}?_HLS_msn=1"))
        await eventually(lambda: sandbox.controls.waiting["playlist"] == 2)
        sandbox.controls.release("playlist")
        assert [(await it).status for it in (first, blocking)] == [200, 200]


async def test_a_playlist_that_takes_too_long_to_read_is_refused(sandbox, monkeypatch):
    monkeypatch.setattr(playlist_checker, "MAX_PARSE_SECONDS", 0.05)
    monkeypatch.setattr(playlist_checker, "MIN_THREAD_BYTES", 1)
    monkeypatch.setattr(playlist_checker, "check", lambda *_, **__: time.sleep(0.5))
    async with an_edge(sandbox, **RELAY) as edge:
        answer = await edge.play()
        assert (answer.status, answer.reason) == (502, "playlist-invalid")
        assert edge.lines()[-1]["detail"] == "reading the playlist took more than 0.05 s"


@pytest.mark.parametrize("kind", ["playlist", "bytes"])
async def test_one_session_does_not_starve_others(sandbox, kind):
    async with an_edge(sandbox, **RELAY) as edge:
        paths = []
        for source in ("127.0.1.5", "127.0.2.5"):
            playlist, body = await media_of(edge, source=source)
            paths.append(playlist if kind == "playlist" else uris(body)[0])
        held = "playlist" if kind == "playlist" else "segment"
        sandbox.controls.hold(held)
        most = MAX_PER_SESSION[kind]
        one, other = (edge.player + path for path in paths)
        greedy = [asyncio.create_task(edge.get(one, source="127.0.1.5")) for _ in range(most + 10)]
        await eventually(lambda: sandbox.controls.waiting[held] == most)
        modest = asyncio.create_task(edge.get(other, source="127.0.2.5"))
        await eventually(lambda: sandbox.controls.waiting[held] == most + 1)
        sandbox.controls.release(held)
        assert (await modest).status == 200
        outcomes = [(it.status, it.reason) for it in await asyncio.gather(*greedy)]
        assert outcomes.count((200, None)) == most
        assert outcomes.count((503, "rate-limited")) == 10
        assert (await edge.get(one, source="127.0.1.5")).status == 200, "nothing is left behind"


@pytest.mark.parametrize("body", [b"", b"\n", b"#EXTM3U8\n"])
async def test_what_is_no_playlist_is_not_relayed(edge, sandbox, body):
    sandbox.controls.set_fault("playlist", Fault(status=200, body=body.decode(), headers=M3U8))

    assert (await edge.play()).reason == "platform-bad-response"


async def test_an_endless_playlist_is_cut_off(sandbox):
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            await response.write(b"#EXTM3U\n")
            while True:
                await response.write(b"#EXTINF:4,\n1.ts\n" * 1000)
        return response

    async with a_cdn({"/m.m3u8": endless}) as origin:
        hosts = [origin.removeprefix("http://"), sandbox.origin.removeprefix("http://")]
        async with an_edge(sandbox, platform={"allowed_hosts": hosts}, **RELAY) as edge:
            location = (("Location", f"{origin}/m.m3u8"),)
            sandbox.controls.set_fault("playlist", Fault(status=302, headers=location))
            answer = await edge.play()

    assert (answer.status, answer.reason) == (502, "platform-bad-response")


@pytest.mark.parametrize(
    "limits",
    [{"max_height": 180}, {"max_bandwidth": 300_000}, {"max_height": 180, "max_bandwidth": 10**9}],
)
async def test_variants_beyond_the_limits_are_left_out(sandbox, limits):
    """A token with a limit is relayed whatever the mode."""
    async with an_edge(sandbox) as edge:
        answer = await edge.get(edge.play_url(token=edge.mint(limits=VariantLimits(**limits))))
        series = await edge.metric("playgate_plays_total")

    assert answer.status == 200
    assert [v.stream_info.resolution for v in m3u8.loads(answer.body.decode()).playlists] == [
        (320, 180)
    ]
    assert "SUBTITLES" in answer.body.decode()
    assert series == {'outcome="relayed"': 1}


async def test_limits_hold_where_no_size_is_told(edge, sandbox):
    """A stream URL that is a media playlist has one variant, of a size that nobody says."""
    text = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nseg1.ts\n"
    sandbox.controls.set_fault("playlist", Fault(status=200, body=text, headers=M3U8))
    token = edge.mint(limits=VariantLimits(max_height=360))

    assert (await edge.get(edge.play_url(token=token))).reason == "format-unavailable"


async def test_limits_hold_in_reports_on_other_renditions(edge, sandbox):
    token = edge.mint("x8live1", limits=VariantLimits(max_height=180))
    path = uris((await edge.get(edge.play_url("x8live1", token))).body)[0]
    text = '#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n1.ts\n#EXT-X-RENDITION-REPORT:URI="../1080/m.m3u8",LAST-MSN=1\n'
    sandbox.controls.set_fault("playlist", Fault(status=200, body=text, headers=M3U8))
    body = (await edge.get(edge.player + path)).body

    assert len(uris(body)) == 1 and b"RENDITION-REPORT" not in body


async def test_no_variant_within_the_limits_is_404(edge):
    answer = await edge.get(edge.play_url(token=edge.mint(limits=VariantLimits(max_height=100))))

    assert (answer.status, answer.reason) == (404, "format-unavailable")


async def test_the_mode_may_depend_on_the_video(start_edge):
    rules = [{"videos": "x8demo.*", "mode": "relay"}, {"videos": "x8live1", "mode": "validate"}]
    edge = await start_edge(delivery={"mode": "redirect", "rules": rules})

    assert (await edge.play("x8demo1")).status == 200
    assert (await edge.play("x8live1")).status == 302
    assert (await edge.play("x8keys1")).status == 302
    assert (await edge.metric("playgate_playlist_checks_total")) == {'verdict="ok"': 1}


@pytest.mark.parametrize(
    ("families", "status"), [(["ipv6"], 200), (["ipv4"], 302), (["ipv4", "ipv6"], 302)]
)  # fmt: skip
async def test_viewers_whose_family_the_cdn_does_not_speak_are_relayed(
    start_edge, families, status
):
    edge = await start_edge(delivery={"cdn_families": families})

    assert (await edge.play()).status == status


async def test_the_egress_address_is_what_streams_are_locked_to(start_edge, sandbox):
    """The sandbox sees 127.0.0.1 fetching, so a stream locked to another address is refused."""
    edge = await start_edge(platform={"egress_ip": "127.0.0.9"}, **RELAY)
    answer = await edge.play()

    assert (answer.status, answer.reason) == (502, "platform-bad-response")
    assert (
        edge.lines()[-1]["detail"]
        == "CDN: HTTP 403; see platform.address_family and platform.egress_ip"
    )


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault(status=403), "platform-bad-response"),
        (Fault(status=404), "stream-unavailable"),
        (Fault(status=410), "stream-unavailable"),
        (Fault(status=429), "platform-throttled"),
        (Fault(status=500), "platform-unreachable"),
        (Fault(cut="before"), "platform-unreachable"),
        (Fault(cut="within", status=200), "platform-unreachable"),
        (Fault(cut="drip", status=200), "platform-timeout"),
        (Fault(status=200, body="<html>are you a robot"), "platform-bad-response"),
        (Fault(status=200, body="#EXTM3U\n#EXT-X-ENDLIST\n", headers=M3U8), "playlist-invalid"),
        (Fault(status=200, body="#EXTM3U\n" + "a" * 50_000_000, headers=M3U8), "platform-bad-response"),
        (Fault(status=200, body="#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttps://evil.example/1.ts\n", headers=M3U8), "stream-host-not-allowed"),
        (Fault(status=200, body="#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\njavascript:alert(1)\n", headers=M3U8), "stream-host-not-allowed"),
        (Fault(status=200, body="#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n", headers=M3U8), "stream-host-not-allowed"),
        (Fault(status=200, body='#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-KEY:METHOD=AES-128,URI="data:,k"\n#EXTINF:1,\na.ts\n', headers=M3U8), "stream-host-not-allowed"),
        (Fault(status=200, body="#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,a\rhttps://evil.example/1.ts\n", headers=M3U8), "stream-host-not-allowed"),
        (Fault(status=200, body="#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,a\u2028https://evil.example/1.ts\n1.ts\n", headers=M3U8), "playlist-invalid"),
        (Fault(status=200, body="#EXTM3U\n#EXT-X-TARGETDURATION:1\n" + "#EXTINF:1,\n1.ts\n" * 100_000, headers=M3U8), "playlist-invalid"),
        (Fault(status=302, headers=(("Location", "http://127.0.0.1:1/x.m3u8"),)), "stream-host-not-allowed"),
        (Fault(status=302, headers=(("Location", "//169.254.169.254/latest"),)), "stream-host-not-allowed"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.status}{value.cut}{value.body[-12:].strip()}",
)  # fmt: skip
async def test_trouble_with_a_playlist_has_its_reason(sandbox, fault, reason):
    async with an_edge(sandbox, platform={"play_timeout": 3}, **RELAY) as edge:
        path = uris((await edge.play()).body)[0]
        sandbox.controls.set_fault("playlist", fault)
        answer = await edge.get(edge.player + path)

    assert answer.reason == reason
    assert sandbox.origin.encode() not in answer.body


async def test_odd_playlists_pass_as_they_are(edge, sandbox):
    """CRLF, a byte order mark (which goes), bytes that are no UTF-8, unknown tags."""
    body = '\ufeff#EXTM3U\r\n#EXT-X-TARGETDURATION:4\r\n#EXT-X-ODD:é,"\r\n\r\n#EXTINF:4,caf\udce9\r\nseg1.ts\r\n'
    path = uris((await edge.play()).body)[0]

    async def odd(_request: web.Request) -> web.Response:
        return web.Response(body=body.encode(errors="surrogateescape"))

    async with a_cdn({"/odd.m3u8": odd}) as origin:
        hosts = [origin.removeprefix("http://"), sandbox.origin.removeprefix("http://")]
        async with an_edge(sandbox, platform={"allowed_hosts": hosts}, **RELAY) as other:
            sandbox.controls.set_fault(
                "playlist", Fault(status=302, headers=(("Location", f"{origin}/odd.m3u8"),))
            )
            answer = await other.get(other.player + path)

    assert re.sub(rb"/relay/\S+", b"seg1.ts", answer.body) == body.removeprefix("\ufeff").encode(
        errors="surrogateescape"
    )


async def test_a_stream_url_that_is_a_media_playlist_is_wrapped(edge, sandbox):
    """Players come back to /play for each reload of a media playlist, and would start over."""
    text = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nseg1.ts\n"
    sandbox.controls.set_fault("playlist", Fault(status=200, body=text, headers=M3U8))
    first = await edge.play("x8live1")
    (path,) = uris(first.body)
    answer = await edge.get(edge.player + path)

    assert m3u8.loads(first.body.decode()).is_variant
    assert m3u8.loads(answer.body.decode()).segments[0].duration == 4


def a_cdn(handlers):
    """Serve from an origin of its own what the sandbox's playlists are made to name."""
    app = web.Application()
    for path, handler in handlers.items():
        app.router.add_get(path, handler)
    return serving(app)


@asynccontextmanager
async def relaying(sandbox, handler) -> AsyncIterator[tuple[object, str]]:
    """Run an edge with a session in which one segment is answered by `handler`."""
    async with a_cdn({"/1.ts": handler}) as origin:
        hosts = [origin.removeprefix("http://"), sandbox.origin.removeprefix("http://")]
        async with an_edge(sandbox, platform={"allowed_hosts": hosts}, **RELAY) as edge:
            path = uris((await edge.play()).body)[0]
            text = f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{origin}/1.ts\n"
            sandbox.controls.set_fault("playlist", Fault(status=200, body=text, headers=M3U8))
            yield edge, edge.player + uris((await edge.get(edge.player + path)).body)[0]


async def test_a_segment_that_breaks_off_is_not_made_whole(sandbox):
    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"x" * 500)
        request.transport.abort()
        return response

    async with relaying(sandbox, half) as (edge, url):
        with pytest.raises(aiohttp.ClientPayloadError):
            await edge.get(url)
        assert edge.lines("internal") == []
        line = edge.lines()[-1]
        assert (line["route"], line["reason"], line["video"]) == (
            "relayed-bytes",
            "platform-unreachable",
            "x8demo1",
        )
        assert line["detail"] == "bytes: the CDN closed the connection within a body"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Encoding": "gzip"}, 502), ({"Content-Encoding": "identity"}, 200),
        ({"Content-Type": "text/html"}, 502), ({"Content-Type": "TEXT/html ; charset=x"}, 502),
        ({"Content-Type": ",text/html"}, 502), ({"Content-Type": "text/html,x"}, 502),
        ({"Content-Type": "text/plain; x*0*=iso-2022-kr'x'%1b"}, 200), ({"ETag": '"a"'}, 200),
        ({"Cache-Control": "public, max-age=9", "Set-Cookie": "a=b", "X-Debug": "c"}, 200),
    ],
)  # fmt: skip
async def test_what_is_told_of_the_upstream(sandbox, headers, status):
    async def bytes_of(_request: web.Request) -> web.Response:
        return web.Response(body=b"x", headers={"Content-Type": "video/mp2t", **headers})

    async with relaying(sandbox, bytes_of) as (edge, url):
        answer = await edge.get(url)

    assert answer.status == status
    if status == 200:
        assert answer.headers["Cache-Control"] == "private, max-age=0"
        assert answer.headers.get("ETag") == headers.get("ETag")
        assert not {"Set-Cookie", "X-Debug"} & set(answer.headers)


async def test_a_second_encoding_is_seen_too(sandbox):
    async def bytes_of(_request: web.Request) -> web.Response:
        response = web.Response(body=b"x")
        for encoding in ("identity", "br"):
            response.headers.add("Content-Encoding", encoding)
        return response

    async with relaying(sandbox, bytes_of) as (edge, url):
        assert (await edge.get(url)).reason == "platform-bad-response"


async def test_an_unasked_for_304_is_no_answer(edge, sandbox):
    _, body = await media_of(edge)
    sandbox.controls.set_fault("segment", Fault(status=304))

    assert (await edge.get(edge.player + uris(body)[0])).reason == "platform-bad-response"


@pytest.mark.parametrize(
    "location", ["http://[", "http://a\u2100b/", "http://" + "a" * 64 + ".example/", ""]
)
async def test_an_odd_redirect_is_no_bug_of_ours(edge, sandbox, location):
    path, body = await media_of(edge)
    for kind, url in (("playlist", path), ("segment", uris(body)[0])):
        sandbox.controls.set_fault(kind, Fault(status=302, headers=(("Location", location),)))
        answer = await edge.get(edge.player + url)
        assert answer.reason in {"stream-host-not-allowed", "platform-bad-response"}


async def test_a_chunked_segment_that_breaks_off_is_not_made_whole(sandbox):
    """Without a length only the connection's end can say it."""

    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(b"x" * 500)
        await asyncio.sleep(0.05)
        request.transport.abort()
        return response

    async with relaying(sandbox, half) as (edge, url):
        with pytest.raises(aiohttp.ClientPayloadError):
            await edge.get(url)


async def test_a_viewer_who_leaves_takes_the_upstream_along(sandbox):
    ended = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65536)
                await asyncio.sleep(0)
        except (ConnectionError, asyncio.CancelledError):
            ended.set()
            raise

    async with relaying(sandbox, endless) as (edge, url):
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            await answer.content.read(100_000)
        async with asyncio.timeout(20):
            await ended.wait()
        assert edge.lines("internal") == []


def resident() -> int:
    """Return the bytes of memory that this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def test_a_slow_viewer_costs_no_memory(sandbox):
    """The upstream offers 300 MB; the viewer reads a little and waits."""
    sent = 0

    async def large(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            for _ in range(300):
                await response.write(b"x" * 1_000_000)
                sent += 1
        return response

    async with relaying(sandbox, large) as (_, url):
        before = resident()
        async with aiohttp.ClientSession(read_bufsize=2**16) as session, session.get(url) as answer:
            await answer.content.read(100_000)
            last = -1
            while last != sent:  # until nothing moves any more
                last = sent
                await asyncio.sleep(0.2)
            grown = resident() - before

    assert 0 < sent < 60
    assert grown < 60_000_000  # bytes, of this process, which has both ends in it


@pytest.mark.parametrize(
    ("status", "reason"),
    [(403, "platform-bad-response"), (404, "stream-unavailable"), (500, "platform-unreachable"), (429, "platform-throttled"), (204, "platform-bad-response")],
)  # fmt: skip
async def test_trouble_with_bytes_has_its_reason(edge, sandbox, status, reason):
    _, body = await media_of(edge)
    sandbox.controls.set_fault("segment", Fault(status=status))
    answer = await edge.get(edge.player + uris(body)[0])

    assert answer.reason == reason


async def test_bytes_follow_redirects_within_the_allowed_hosts_only(edge, sandbox):
    _, body = await media_of(edge)
    url = edge.player + uris(body)[0]
    sandbox.controls.set_fault("segment", Fault(status=302, headers=(("Location", "/__calls"),)))
    assert b"playlist" in (await edge.get(url)).body
    sandbox.controls.set_fault(
        "segment", Fault(status=302, headers=(("Location", "http://localhost:1/x"),))
    )
    assert (await edge.get(url)).reason == "stream-host-not-allowed"
    sandbox.controls.set_fault("segment", Fault(status=302, headers=(("Location", uris(body)[0]),)))
    assert (await edge.get(url)).reason == "stream-unavailable"
    sandbox.controls.set_fault("segment", None)


async def test_bytes_are_counted_and_what_is_secret_is_logged_nowhere(edge):
    path, body = await media_of(edge)
    size = len((await edge.get(edge.player + uris(body)[0])).body)
    await edge.get(edge.player + uris(body)[0] + "x")

    assert await edge.metric("playgate_relayed_bytes_total") == {"": size}
    log = edge.log.getvalue()
    assert "/relay/" not in log and "sec=" not in log and path[20:60] not in log
    assert [line["route"] for line in edge.lines()] == ["play", "relayed-bytes"]


async def test_a_refused_relay_request_says_whose_it_is(sandbox):
    async with an_edge(sandbox, **RELAY) as edge:
        answer = await edge.get(edge.play_url(token=edge.mint(subject="viewer-7")))
        path = uris(answer.body)[0]
        sandbox.controls.set_fault("playlist", Fault(status=404))
        await edge.get(edge.player + path)

    line = edge.lines()[-1]
    assert (line["route"], line["reason"]) == ("relayed-playlist", "stream-unavailable")
    assert (line["video"], line["subject"]) == ("x8demo1", "viewer-7")


async def test_an_edge_without_a_relay_key_cannot_relay(sandbox, monkeypatch):
    monkeypatch.setattr(
        Settings, "get_seal_secrets", lambda _settings: []
    )  # as outside the sandbox
    async with an_edge(sandbox, delivery={"cdn_families": ["ipv4", "ipv6"]}) as edge:
        assert (await edge.play()).status == 302
        with pytest.raises(Refusal, match="request-invalid"):  # it says so when asked to mint
            edge.mint(limits=VariantLimits(max_height=360))
        claims = {
            "video": "*",
            "iat": int(time.time()),
            "exp": int(time.time()) + 60,
            "max_height": 360,
        }
        foreign = jwt.encode(claims, SECRET, "HS256", {"kid": "sandbox"})
        answer = await edge.get(edge.play_url(token=foreign))
    assert (answer.status, answer.reason) == (403, "token-format")
    assert edge.lines()[-1]["detail"] == (
        "max_height and max_bandwidth require relaying; relay.keys is not set"
    )


async def test_a_token_secret_cannot_forge_a_relay_session(edge, sandbox):
    """Whoever may sign tokens knows the secret, and how seals are derived from relay keys."""
    session = Session(
        video=VideoId("x8demo1"),
        network=ip_network("127.0.0.0/24"),
        started_at=int(time.time()),
        jti=None,
        subject=None,
        issued_at=int(time.time()),
    )
    url = f"{sandbox.origin}/cdn/anything.m3u8"
    for secret in (SECRET, OPERATOR_KEY):
        sealer = Sealer(SealKey(secret.encode()), session)
        forged = [sealer.playlist_path(url, {}), sealer.file_path(url)]
        for path in forged:
            answer = await edge.get(edge.player + path)
            assert (answer.status, answer.reason) == (403, "seal-invalid")


async def test_long_playlists_hold_nobody_up(edge, sandbox):
    """14,400 segments are checked and rewritten in a thread: the event loop goes on beating."""
    path = uris((await edge.play("x8live1")).body)[0]
    lines = (
        f"#EXTINF:2.000,\n../../../frag({n})/video/612/345/x8live1_live_180.ts\n"
        for n in range(14_400)
    )
    text = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n" + "".join(lines)
    sandbox.controls.set_fault("playlist", Fault(status=200, body=text, headers=M3U8))
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            await asyncio.sleep(0.001)
            beats += 1

    sandbox.controls.hold("playlist")
    asked = asyncio.create_task(edge.get(edge.player + path))
    await eventually(lambda: sandbox.controls.waiting["playlist"] == 1)
    beating = asyncio.create_task(beat())
    sandbox.controls.release("playlist")
    answer = await asked
    beating.cancel()

    assert answer.status == 200 and len(uris(answer.body)) == 14_400
    assert beats >= 10  # inline it would be none in some hundred milliseconds


class TestAuth:
    """The same question, asked by nginx, which then fetches the bytes itself."""

    @pytest.fixture
    async def edge(self, sandbox):
        behind = {"viewer": {"trusted_proxies": ["127.0.0.1"]}}
        async with an_edge(sandbox, **RELAY, **behind) as running:
            yield running

    async def ask(
        self, edge, path: str, *, viewer: str = "127.0.0.5", query: str = "", method: str = "GET"
    ):
        headers = {
            "X-Original-URI": path + query, "X-Original-Path": path, "X-Original-Method": method,
            "X-Forwarded-For": viewer,
        }  # fmt: skip
        return await edge.get(f"{edge.operator}/auth", headers=headers)

    async def segment(self, edge) -> str:
        headers = {"X-Forwarded-For": "127.0.0.5"}
        token = edge.mint(subject="viewer-7")
        first = await edge.get(edge.play_url(token=token), headers=headers)
        media = await edge.get(edge.player + uris(first.body)[0], headers=headers)
        return uris(media.body)[0]

    async def test_nginx_is_told_where_the_bytes_are(self, edge, sandbox):
        answer = await self.ask(edge, await self.segment(edge))
        upstream = answer.headers["X-Playgate-Upstream"]

        assert answer.status == 204
        assert upstream.startswith(f"{sandbox.origin}/sec2(") and upstream.endswith("_vod_360.ts")
        assert (answer.headers["X-Playgate-Video"], answer.headers["X-Playgate-Subject"]) == (
            "x8demo1",
            "viewer-7",
        )
        assert await edge.metric("playgate_relayed_bytes_total") == {}

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"viewer": "127.0.1.5"}, "seal-network"),
            ({"query": "?a=1"}, "seal-invalid"),
            ({"method": "POST"}, "path-not-covered"),
        ],
    )
    async def test_it_is_told_no_with_the_reason(self, edge, change, reason):
        answer = await self.ask(edge, await self.segment(edge), **change)

        assert (answer.status, answer.reason) == (403, reason)
        assert "X-Playgate-Upstream" not in answer.headers

    async def test_a_token_opens_no_relayed_path(self, edge):
        path = (await self.segment(edge)).replace("/relay/bytes/", "/relay/bytes/A")
        answer = await self.ask(edge, path, query=f"?token={edge.mint('*')}")

        assert answer.reason == "seal-invalid"


async def test_bytes_are_held_a_piece_at_a_time(sandbox, monkeypatch):
    """What a slow viewer makes an edge hold is bounded by this."""
    pieces: list[int] = []
    write = web.StreamResponse.write

    async def noted(self: web.StreamResponse, data: bytes) -> None:
        pieces.append(len(data))
        await write(self, data)

    async def bytes_of(_request: web.Request) -> web.Response:
        return web.Response(body=b"x" * 3_000_000, headers={"Content-Type": "video/mp2t"})

    async with relaying(sandbox, bytes_of) as (edge, url):
        monkeypatch.setattr(web.StreamResponse, "write", noted)
        assert len((await edge.get(url)).body) == 3_000_000
    assert max(pieces) <= CHUNK_BYTES


async def test_a_playlist_counts_until_it_is_read(sandbox):
    """Or one session could make the edge hold as many bodies as it has connections."""
    async with an_edge(sandbox, **RELAY) as edge:
        path, _ = await media_of(edge, "x8tall1")
        port = int(edge.player.rpartition(":")[2])
        unread = []
        for _ in range(MAX_PER_SESSION["playlist"]):
            _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
            socket = writer.get_extra_info("socket")
            socket.setsockopt(SOL_SOCKET, SO_RCVBUF, 2048)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode() * 40)
            unread.append(writer)

        async def is_refused() -> bool:
            return (await edge.get(edge.player + path)).reason == "rate-limited"

        await eventually(is_refused, seconds=60)
        for writer in unread:
            writer.transport.abort()

        async def is_served() -> bool:
            return (await edge.get(edge.player + path)).status == 200

        await eventually(is_served, seconds=60)
