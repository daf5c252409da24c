"""Limits of relayed playback: the variants of a token, and the load of one session."""

import asyncio

import m3u8
import pytest
from support import run_test_edge, wait_until
from web.relay.relay_edge import PLAYLIST_HEADERS, RELAY, fetch_media_playlist, find_relay_paths

from proxy.domain.variant_limits import VariantLimits
from proxy.edge.relay_sessions import MAX_PER_SESSION
from proxy.hls.template import CHUNK_BYTES
from proxy.sandbox.controls import Fault


async def test_only_playlists_that_offer_blocking_reloads_bypass_the_concurrency_limit(sandbox):
    """A blocking reload waits outside the limit; other playlists must not use this to bypass it."""
    limits = {"concurrency": 1}
    async with run_test_edge(sandbox, limits=limits, **RELAY) as edge:
        vod, _ = await fetch_media_playlist(edge, "x8demo1")
        low_latency, _ = await fetch_media_playlist(edge, "x8live2")
        sandbox.controls.hold("playlist")
        first = asyncio.create_task(edge.get(edge.player + vod))
        await wait_until(lambda: sandbox.controls.waiting["playlist"] == 1)
        for query in ("?_HLS_msn=9999", "?_HLS_part=1&_HLS_msn=9999"):
            response = await edge.get(edge.player + vod + query)
            assert (response.status, response.reason) == (503, "rate-limited")
        blocking = asyncio.create_task(edge.get(f"{edge.player}{low_latency}?_HLS_msn=1"))
        await wait_until(lambda: sandbox.controls.waiting["playlist"] == 2)
        sandbox.controls.release("playlist")
        assert [(await task).status for task in (first, blocking)] == [200, 200]


@pytest.mark.parametrize("kind", ["playlist", "bytes"])
async def test_one_session_does_not_starve_others(sandbox, kind):
    async with run_test_edge(sandbox, **RELAY) as edge:
        paths = []
        for source in ("127.0.1.5", "127.0.2.5"):
            playlist, body = await fetch_media_playlist(edge, source=source)
            paths.append(playlist if kind == "playlist" else find_relay_paths(body, playlist)[0])
        call = "playlist" if kind == "playlist" else "segment"
        sandbox.controls.hold(call)
        limit = MAX_PER_SESSION[kind]
        busy, other = (edge.player + path for path in paths)
        greedy = [
            asyncio.create_task(edge.get(busy, source="127.0.1.5")) for _ in range(limit + 10)
        ]
        await wait_until(lambda: sandbox.controls.waiting[call] == limit)
        modest = asyncio.create_task(edge.get(other, source="127.0.2.5"))
        await wait_until(lambda: sandbox.controls.waiting[call] == limit + 1)
        sandbox.controls.release(call)
        assert (await modest).status == 200
        outcomes = [
            (response.status, response.reason) for response in await asyncio.gather(*greedy)
        ]
        assert outcomes.count((200, None)) == limit
        assert outcomes.count((503, "rate-limited")) == 10
        assert (await edge.get(busy, source="127.0.1.5")).status == 200, (
            "a slot of the session was not freed"
        )


@pytest.mark.parametrize(
    "limits",
    [{"max_height": 180}, {"max_bandwidth": 300_000}, {"max_height": 180, "max_bandwidth": 10**9}],
)
async def test_variants_above_the_token_limits_are_removed(sandbox, limits):
    """A play with such a token is relayed in every delivery mode."""
    async with run_test_edge(sandbox) as edge:
        response = await edge.get(edge.play_url(token=edge.mint(limits=VariantLimits(**limits))))
        series = await edge.metric("playgate_plays_total")

    assert response.status == 200
    assert [v.stream_info.resolution for v in m3u8.loads(response.body.decode()).playlists] == [
        (320, 180)
    ]
    assert "SUBTITLES" in response.body.decode()
    assert series == {'outcome="relayed"': 1}


async def test_a_stream_of_unknown_size_is_refused_to_a_token_with_limits(edge, sandbox):
    """A stream URL may lead to a media playlist, which does not state its resolution."""
    text = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nseg1.ts\n"
    sandbox.controls.set_fault("playlist", Fault(status=200, body=text, headers=PLAYLIST_HEADERS))
    token = edge.mint(limits=VariantLimits(max_height=360))

    assert (await edge.get(edge.play_url(token=token))).reason == "format-unavailable"


async def test_rendition_reports_are_removed_for_a_token_with_limits(edge, sandbox):
    token = edge.mint("x8live1", limits=VariantLimits(max_height=180))
    path = find_relay_paths((await edge.get(edge.play_url("x8live1", token))).body)[0]
    text = '#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n1.ts\n#EXT-X-RENDITION-REPORT:URI="../1080/m.m3u8",LAST-MSN=1\n'
    sandbox.controls.set_fault("playlist", Fault(status=200, body=text, headers=PLAYLIST_HEADERS))
    body = (await edge.get(edge.player + path)).body

    assert len(find_relay_paths(body, path)) == 1 and b"RENDITION-REPORT" not in body


async def test_a_play_without_a_variant_within_the_limits_gets_404(edge):
    response = await edge.get(edge.play_url(token=edge.mint(limits=VariantLimits(max_height=100))))

    assert (response.status, response.reason) == (404, "format-unavailable")


async def test_a_long_playlist_does_not_block_the_event_loop(edge, sandbox):
    """A playlist of 14,400 segments is rewritten in slices."""
    path = find_relay_paths((await edge.play("x8live1")).body)[0]
    lines = (
        f"#EXTINF:2.000,\n../../../frag({n})/video/612/345/x8live1_live_180.ts\n"
        for n in range(14_400)
    )
    text = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n" + "".join(lines)
    sandbox.controls.set_fault("playlist", Fault(status=200, body=text, headers=PLAYLIST_HEADERS))
    iterations = 0

    async def count_iterations() -> None:
        nonlocal iterations
        while True:
            await asyncio.sleep(0.001)
            iterations += 1

    sandbox.controls.hold("playlist")
    headers = {"Accept-Encoding": "identity"}
    pending = asyncio.create_task(edge.get(edge.player + path, headers=headers))
    await wait_until(lambda: sandbox.controls.waiting["playlist"] == 1)
    counting = asyncio.create_task(count_iterations())
    sandbox.controls.release("playlist")
    response = await pending
    counting.cancel()

    assert response.status == 200 and len(find_relay_paths(response.body, path)) == 14_400
    assert int(response.headers["Content-Length"]) == len(response.body) > CHUNK_BYTES
    for _ in range(2):  # the second request uses the same connection
        head = await edge.get(edge.player + path, method="HEAD")
        assert (head.status, head.body) == (200, b"")
        assert head.headers["Content-Length"] == response.headers["Content-Length"]
    assert iterations >= 10  # in one go, rewriting would block for some 100 ms


async def test_an_unread_playlist_response_counts_against_the_session(sandbox, edge, monkeypatch):
    """Otherwise one session could make the edge hold one body for each of its connections."""
    monkeypatch.setitem(MAX_PER_SESSION, "playlist", 2)
    path = find_relay_paths((await edge.play("x8live1")).body)[0]
    lines = (f"#EXTINF:2,\n{'a' * 1_000}{n}.ts\n" for n in range(8_000))
    text = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n" + "".join(lines)
    sandbox.controls.set_fault("playlist", Fault(status=200, body=text, headers=PLAYLIST_HEADERS))
    port = int(edge.player.rpartition(":")[2])
    writers = []
    for _ in range(2):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writers.append(writer)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert await reader.readexactly(12) == b"HTTP/1.1 200"

    response = await edge.get(edge.player + path)
    assert (response.status, response.reason) == (503, "rate-limited")
    for writer in writers:
        writer.transport.abort()

    async def is_served() -> bool:
        response = await edge.get(edge.player + path)
        # The buffers of the kernel, at most 4 MiB, cannot take a whole response.
        return response.status == 200 and len(response.body) > 7 * 2**20

    await wait_until(is_served)
