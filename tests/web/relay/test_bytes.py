"""Relayed segments and other files: ranges, headers, redirects, streaming, the log."""

import asyncio
import contextlib
import resource
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from web.relay.relay_edge import (
    fetch_media_playlist,
    find_relay_paths,
    run_edge_with_segment,
)

from proxy.adapters.dailymotion.cdn import CHUNK_BYTES
from proxy.sandbox.controls import Fault


def read_resident_bytes() -> int:
    """Return the resident memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def test_ranges_and_conditional_requests_work_on_bytes(edge):
    path, body = await fetch_media_playlist(edge)
    url = edge.player + find_relay_paths(body, path)[0]
    full = await edge.get(url)
    part = await edge.get(url, headers={"Range": "bytes=188-375"})
    tail = await edge.get(url, headers={"Range": "bytes=-10"})

    assert (part.status, part.body) == (206, full.body[188:376])
    assert part.headers["Content-Range"] == f"bytes 188-375/{len(full.body)}"
    assert (tail.status, tail.body) == (206, full.body[-10:])
    assert (await edge.get(url, headers={"If-None-Match": full.headers["ETag"]})).status == 304
    assert (
        await edge.get(url, headers={"If-Modified-Since": full.headers["Last-Modified"]})
    ).status == 304
    assert (await edge.get(url, headers={"Range": "bytes=99999999-"})).status == 416
    stale = await edge.get(
        url, headers={"Range": "bytes=0-9", "If-Range": "Fri, 01 Jan 2010 00:00:00 GMT"}
    )
    assert (stale.status, len(stale.body)) == (200, len(full.body))
    head = await edge.get(url, method="HEAD")
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(full.body)))
    assert (await edge.get(url, method="OPTIONS")).status == 204


async def test_directives_for_other_servers_are_dropped(edge):
    path, body = await fetch_media_playlist(edge)

    assert (
        await edge.get(
            edge.player
            + find_relay_paths(body, path)[0]
            + "?_HLS_primary_id=a&_HLS_start_offset=1.5"
        )
    ).status == 200


@pytest.mark.parametrize(
    "content_type", ["text/html", "TEXT/html ; charset=x", ",text/html", "text/html,x"]
)
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"G@\x00\x10", 200),
        (b"", 200),
        (b"<3", 200),
        (b"<!doctype html>", 502),
        (b"\xef\xbb\xbf\r\n <HTML>", 502),
        (b"<?xml version='1.0'?>", 502),
    ],
)
async def test_bytes_that_claim_to_be_html_are_relayed_unless_they_are(
    sandbox, content_type, body, status
):
    """Some CDNs name segments `.html`, and send them with that type."""

    async def send_segment(_request: web.Request) -> web.Response:
        return web.Response(body=body, headers={"Content-Type": content_type})

    async with run_edge_with_segment(sandbox, send_segment) as (edge, url):
        response = await edge.get(url)

    assert response.status == status
    if status == 200:
        assert (response.headers["Content-Type"], response.body) == ("video/mp2t", body)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Encoding": "gzip"}, 502), ({"Content-Encoding": "identity"}, 200),
        ({"Content-Type": "text/plain; x*0*=iso-2022-kr'x'%1b"}, 200), ({"ETag": '"a"'}, 200),
        ({"Cache-Control": "public, max-age=9", "Set-Cookie": "a=b", "X-Debug": "c"}, 200),
    ],
)  # fmt: skip  # one case per line
async def test_only_listed_upstream_headers_and_media_types_are_relayed(sandbox, headers, status):
    async def send_segment(_request: web.Request) -> web.Response:
        return web.Response(body=b"x", headers={"Content-Type": "video/mp2t", **headers})

    async with run_edge_with_segment(sandbox, send_segment) as (edge, url):
        response = await edge.get(url)

    assert response.status == status
    if status == 200:
        assert response.headers["Cache-Control"] == "private, max-age=0"
        assert response.headers.get("ETag") == headers.get("ETag")
        assert not {"Set-Cookie", "X-Debug"} & set(response.headers)


async def test_a_second_content_encoding_header_is_refused(sandbox):
    async def send_segment(_request: web.Request) -> web.Response:
        response = web.Response(body=b"x")
        for encoding in ("identity", "br"):
            response.headers.add("Content-Encoding", encoding)
        return response

    async with run_edge_with_segment(sandbox, send_segment) as (edge, url):
        assert (await edge.get(url)).reason == "platform-bad-response"


async def test_the_upstream_request_is_cancelled_when_the_viewer_disconnects(sandbox):
    upstream_ended = asyncio.Event()

    async def send_endlessly(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65536)
                await asyncio.sleep(0)
        except (ConnectionError, asyncio.CancelledError):
            upstream_ended.set()
            raise

    async with run_edge_with_segment(sandbox, send_endlessly) as (edge, url):
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            await response.content.read(100_000)
        async with asyncio.timeout(20):
            await upstream_ended.wait()
        assert edge.lines("internal") == []


async def test_a_slow_viewer_does_not_fill_memory(sandbox):
    """The upstream sends up to 300 MB; the viewer reads 100 kB and then stops reading."""
    sent_mb = 0

    async def send_300_mb(request: web.Request) -> web.StreamResponse:
        nonlocal sent_mb
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            for _ in range(300):
                await response.write(b"x" * 1_000_000)
                sent_mb += 1
        return response

    async with run_edge_with_segment(sandbox, send_300_mb) as (_, url):
        before = read_resident_bytes()
        async with (
            aiohttp.ClientSession(read_bufsize=2**16) as session,
            session.get(url) as response,
        ):
            await response.content.read(100_000)
            last = -1
            while last != sent_mb:  # until the upstream cannot send any more
                last = sent_mb
                await asyncio.sleep(0.2)
            growth = read_resident_bytes() - before

    assert 0 < sent_mb < 60
    assert growth < 60_000_000  # bytes; this process also holds the CDN and the viewer


async def test_segment_redirects_are_followed_only_to_allowed_hosts(edge, sandbox):
    path, body = await fetch_media_playlist(edge)
    url = edge.player + find_relay_paths(body, path)[0]
    sandbox.controls.set_fault("segment", Fault(status=302, headers=(("Location", "/__calls"),)))
    assert b"playlist" in (await edge.get(url)).body
    sandbox.controls.set_fault(
        "segment", Fault(status=302, headers=(("Location", "http://localhost:1/x"),))
    )
    assert (await edge.get(url)).reason == "stream-host-not-allowed"
    sandbox.controls.set_fault(
        "segment", Fault(status=302, headers=(("Location", find_relay_paths(body, path)[0]),))
    )
    assert (await edge.get(url)).reason == "stream-unavailable"
    sandbox.controls.set_fault("segment", None)


async def test_relayed_bytes_are_counted_and_no_secret_is_logged(edge):
    path, body = await fetch_media_playlist(edge)
    size = len((await edge.get(edge.player + find_relay_paths(body, path)[0])).body)
    await edge.get(edge.player + find_relay_paths(body, path)[0] + "x")

    assert await edge.metric("playgate_relayed_bytes_total") == {"": size}
    log = edge.log.getvalue()
    assert "/relay/" not in log and "sec=" not in log and path[20:60] not in log
    assert [line["route"] for line in edge.lines()] == ["play", "relayed-bytes"]


async def test_a_segment_is_streamed_in_chunks_of_bounded_size(sandbox, monkeypatch):
    """The chunk size bounds the memory that a slow viewer takes in the edge."""
    chunk_sizes: list[int] = []
    write = web.StreamResponse.write

    async def write_and_record(self: web.StreamResponse, data: bytes) -> None:
        chunk_sizes.append(len(data))
        await write(self, data)

    async def send_segment(_request: web.Request) -> web.Response:
        return web.Response(body=b"x" * 3_000_000, headers={"Content-Type": "video/mp2t"})

    async with run_edge_with_segment(sandbox, send_segment) as (edge, url):
        monkeypatch.setattr(web.StreamResponse, "write", write_and_record)
        assert len((await edge.get(url)).body) == 3_000_000
    assert max(chunk_sizes) <= CHUNK_BYTES
