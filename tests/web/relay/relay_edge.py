"""Helpers of the relay tests: run an edge with a CDN of the test's own, and fetch playlists."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from aiohttp import web
from relay_stack import find_relay_paths
from support import PLAYLIST_HEADERS, RunningEdge, run_test_edge, serve_app

from proxy.sandbox.controls import Fault

RELAY = {"delivery": {"mode": "relay"}}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def fetch_media_playlist(edge, video: str = "x8demo1", **options) -> tuple[str, bytes]:
    """Play a video; return the path and the body of its first media playlist."""
    response = await edge.play(video, **options)
    assert response.status == 200, response.body
    path = find_relay_paths(response.body)[0]
    response = await edge.get(edge.player + path, **options)
    assert response.status == 200, response.body
    return path, response.body


@asynccontextmanager
async def run_edge_and_cdn(
    sandbox, handlers: Mapping[str, Handler]
) -> AsyncIterator[tuple[RunningEdge, str]]:
    """Run a relaying edge, and a CDN whose paths `handlers` serve; yield the edge and the origin.

    The sandbox serves `/play`. A test makes the sandbox's playlists refer to this CDN.
    """
    app = web.Application()
    for path, handler in handlers.items():
        app.router.add_get(path, handler)
    async with serve_app(app) as origin:
        hosts = [origin.removeprefix("http://"), sandbox.origin.removeprefix("http://")]
        async with run_test_edge(sandbox, platform={"allowed_hosts": hosts}, **RELAY) as edge:
            yield edge, origin


@asynccontextmanager
async def run_edge_with_segment(
    sandbox, handler: Handler
) -> AsyncIterator[tuple[RunningEdge, str]]:
    """Run an edge with a session in which `handler` serves the segment; yield edge and URL."""
    async with run_edge_and_cdn(sandbox, {"/1.ts": handler}) as (edge, origin):
        path = find_relay_paths((await edge.play()).body)[0]
        text = f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{origin}/1.ts\n"
        sandbox.controls.set_fault(
            "playlist", Fault(status=200, body=text, headers=PLAYLIST_HEADERS)
        )
        media = await edge.get(edge.player + path)
        yield edge, edge.player + find_relay_paths(media.body, path)[0]
