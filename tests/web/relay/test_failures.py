"""Each failure of the CDN reaches the player as the right reason, or as a broken connection."""

import asyncio
import contextlib

import aiohttp
import pytest
from aiohttp import web
from support import run_test_edge
from web.relay.relay_edge import (
    PLAYLIST_HEADERS,
    RELAY,
    fetch_media_playlist,
    find_relay_paths,
    run_edge_and_cdn,
    run_edge_with_segment,
)

from proxy.edge import sliced_work
from proxy.sandbox.controls import Fault


async def test_a_playlist_that_takes_too_long_to_read_is_refused(sandbox, monkeypatch):
    monkeypatch.setattr(sliced_work, "MAX_COMPUTATION_SECONDS", 0.01)
    text = "#EXTM3U\n" + "#EXT-X-DATERANGE:ID=1,X=1\n" * 100_000
    async with run_test_edge(sandbox, **RELAY) as edge:
        sandbox.controls.set_fault(
            "playlist", Fault(status=200, body=text, headers=PLAYLIST_HEADERS)
        )
        response = await edge.play()
        assert (response.status, response.reason) == (502, "playlist-invalid")
        assert edge.lines()[-1]["detail"] == "reading the playlist took more than 0.01 s"


@pytest.mark.parametrize("body", [b"", b"\n", b"#EXTM3U8\n"])
async def test_a_body_that_is_not_a_playlist_is_not_relayed(edge, sandbox, body):
    sandbox.controls.set_fault(
        "playlist", Fault(status=200, body=body.decode(), headers=PLAYLIST_HEADERS)
    )

    assert (await edge.play()).reason == "platform-bad-response"


async def test_an_endless_playlist_is_cut_off(sandbox):
    async def send_endlessly(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            await response.write(b"#EXTM3U\n")
            while True:
                await response.write(b"#EXTINF:4,\n1.ts\n" * 1000)
        return response

    async with run_edge_and_cdn(sandbox, {"/m.m3u8": send_endlessly}) as (edge, origin):
        location = (("Location", f"{origin}/m.m3u8"),)
        sandbox.controls.set_fault("playlist", Fault(status=302, headers=location))
        response = await edge.play()

    assert (response.status, response.reason) == (502, "playlist-too-large")


async def test_streams_are_locked_to_the_egress_address(start_edge, sandbox):
    """The edge fetches from 127.0.0.1, so the sandbox refuses a stream locked to 127.0.0.9."""
    edge = await start_edge(platform={"egress_ip": "127.0.0.9"}, **RELAY)
    response = await edge.play()

    assert (response.status, response.reason) == (502, "platform-bad-response")
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
        (Fault(status=200, body="#EXTM3U\n#EXT-X-ENDLIST\n", headers=PLAYLIST_HEADERS), "playlist-invalid"),
        (Fault(status=200, body="#EXTM3U\n" + "a" * 20_000_000, headers=PLAYLIST_HEADERS), "playlist-too-large"),
        (Fault(status=200, body="#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttps://evil.example/1.ts\n", headers=PLAYLIST_HEADERS), "stream-host-not-allowed"),
        (Fault(status=200, body="#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\njavascript:alert(1)\n", headers=PLAYLIST_HEADERS), "stream-host-not-allowed"),
        (Fault(status=200, body="#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n", headers=PLAYLIST_HEADERS), "stream-host-not-allowed"),
        (Fault(status=200, body="#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,a\rhttps://evil.example/1.ts\n", headers=PLAYLIST_HEADERS), "stream-host-not-allowed"),
        (Fault(status=200, body="#EXTM3U\n#EXT-X-TARGETDURATION:1\n" + "#EXTINF:1,\n1.ts\n" * 160_000, headers=PLAYLIST_HEADERS), "playlist-invalid"),
        (Fault(status=302, headers=(("Location", "http://127.0.0.1:1/x.m3u8"),)), "stream-host-not-allowed"),
        (Fault(status=302, headers=(("Location", "//169.254.169.254/latest"),)), "stream-host-not-allowed"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.status}{value.cut}{value.body[-12:].strip()}",
)  # fmt: skip  # one case per line
async def test_each_playlist_failure_has_its_reason(sandbox, fault, reason):
    async with run_test_edge(sandbox, platform={"play_timeout": 3}, **RELAY) as edge:
        path = find_relay_paths((await edge.play()).body)[0]
        sandbox.controls.set_fault("playlist", fault)
        response = await edge.get(edge.player + path)

    assert response.reason == reason
    assert sandbox.origin.encode() not in response.body


async def test_a_truncated_segment_ends_the_response_with_an_error(sandbox):
    async def send_half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"x" * 500)
        request.transport.abort()
        return response

    async with run_edge_with_segment(sandbox, send_half) as (edge, url):
        with pytest.raises(aiohttp.ClientPayloadError):
            await edge.get(url)
        assert edge.lines("internal") == []
        line = edge.lines()[-1]
        assert (line["route"], line["reason"], line["video"]) == (
            "relayed-bytes",
            "platform-unreachable",
            "x8demo1",
        )
        assert line["detail"] == "bytes: the CDN closed the connection before the end of the body"


async def test_a_304_to_an_unconditional_request_is_a_bad_response(edge, sandbox):
    path, body = await fetch_media_playlist(edge)
    sandbox.controls.set_fault("segment", Fault(status=304))

    assert (
        await edge.get(edge.player + find_relay_paths(body, path)[0])
    ).reason == "platform-bad-response"


@pytest.mark.parametrize(
    "location", ["http://[", "http://a\u2100b/", "http://" + "a" * 64 + ".example/", ""]
)
async def test_a_malformed_redirect_is_refused_and_not_an_internal_error(edge, sandbox, location):
    path, body = await fetch_media_playlist(edge)
    for kind, url in (("playlist", path), ("segment", find_relay_paths(body, path)[0])):
        sandbox.controls.set_fault(kind, Fault(status=302, headers=(("Location", location),)))
        response = await edge.get(edge.player + url)
        assert response.reason in {"stream-host-not-allowed", "platform-bad-response"}


async def test_a_truncated_chunked_segment_ends_the_response_with_an_error(sandbox):
    """Without a Content-Length, only an aborted connection shows that the body is incomplete."""

    async def send_half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(b"x" * 500)
        await asyncio.sleep(0.05)
        request.transport.abort()
        return response

    async with run_edge_with_segment(sandbox, send_half) as (edge, url):
        with pytest.raises(aiohttp.ClientPayloadError):
            await edge.get(url)


@pytest.mark.parametrize(
    ("status", "reason"),
    [(403, "platform-bad-response"), (404, "stream-unavailable"), (500, "platform-unreachable"), (429, "platform-throttled"), (204, "platform-bad-response")],
)  # fmt: skip  # one case per line
async def test_each_segment_failure_has_its_reason(edge, sandbox, status, reason):
    path, body = await fetch_media_playlist(edge)
    sandbox.controls.set_fault("segment", Fault(status=status))
    response = await edge.get(edge.player + find_relay_paths(body, path)[0])

    assert response.reason == reason
