"""The sandbox's CDN: playlists and segments for the address they were made for, and nobody else."""

from __future__ import annotations

from importlib.resources import files

from aiohttp import web

from proxy.sandbox import playlists
from proxy.sandbox.catalogue import LIVE
from proxy.sandbox.locks import Locked
from proxy.sandbox.state import STATE, answer_fault

MEDIA = files("proxy.sandbox") / "media"
FOLDERS = {r.folder for r in (*playlists.VOD_RENDITIONS, *playlists.LIVE_RENDITIONS)}
M3U8 = "application/vnd.apple.mpegurl"

# After the edge's redirect a browser sends `Origin: null`, so nothing but `*` will do.
CORS = {"Access-Control-Allow-Origin": "*", "Cache-Control": "no-store"}


async def manifest(request: web.Request) -> web.StreamResponse:
    """Serve the multivariant playlist of a stream URL."""
    sandbox, video, sec = request.app[STATE], request.match_info["video"], _sec(request)
    if (denied := await _denied(request, "playlist", video, sec)) is not None:
        return denied
    return _playlist(playlists.multivariant(sandbox.origin, video, sec, live=video == LIVE))


async def media(request: web.Request) -> web.StreamResponse:
    """Serve the media playlist of a variant."""
    video, folder = request.match_info["video"], request.match_info["folder"]
    if (denied := await _denied(request, "playlist", video, _sec(request))) is not None:
        return denied
    if video == LIVE:
        return _playlist(playlists.live_media(video, folder, now=request.app[STATE].now()))
    return _playlist(playlists.vod_media(video, folder))


async def segment(request: web.Request) -> web.StreamResponse:
    """Serve a segment."""
    video, folder = request.match_info["video"], request.match_info["folder"]
    if (denied := await _denied(request, "segment", video, _sec(request))) is not None:
        return denied
    number = int(request.match_info["number"]) % playlists.SEGMENTS
    if folder not in FOLDERS:
        return web.Response(status=404, headers=CORS)
    body = (MEDIA / folder / f"{number}.ts").read_bytes()
    return web.Response(body=body, content_type="video/mp2t", headers=CORS)


async def subtitles(request: web.Request) -> web.StreamResponse:
    """Serve the subtitle track: its playlist, and its one segment."""
    video, sec = request.match_info["video"], _sec(request)
    if (denied := await _denied(request, "playlist", video, sec)) is not None:
        return denied
    if request.match_info["kind"] == "m3u8":
        return _playlist(playlists.subtitle_media(video, sec))
    return web.Response(text=playlists.subtitle_text(), content_type="text/vtt", headers=CORS)


def _sec(request: web.Request) -> str:
    return request.match_info.get("sec") or request.query.get("sec", "")


async def _denied(
    request: web.Request, kind: str, video: str, sec: str
) -> web.StreamResponse | None:
    """Return a fault or a 403, None where the request may pass."""
    sandbox = request.app[STATE]
    fault = await sandbox.controls.pass_through("segment" if kind == "segment" else "playlist")
    if fault is not None:
        return await answer_fault(request, fault)
    try:
        sandbox.locks.check(sec, video=video, address=request.remote or "", now=sandbox.now())
    except Locked as locked:
        # The real CDN gives no reason; a developer gets one, in a header that no player reads.
        why = {"X-Sandbox-Why": str(locked)}
        return web.Response(status=403, text="Forbidden\n", headers={**CORS, **why})
    return None


def _playlist(text: str) -> web.Response:
    return web.Response(text=text, content_type=M3U8, headers=CORS)
