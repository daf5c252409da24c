"""The sandbox's CDN, which serves each URL only to the address that the URL is locked to."""

import asyncio
from importlib.resources import files
from pathlib import Path

from aiohttp import web

from proxy.sandbox import playlists
from proxy.sandbox.catalogue import CHALLENGED, CHANNELS, KEYED, LIVE_BLOCKING
from proxy.sandbox.locks import LockError
from proxy.sandbox.state import STATE, Sandbox, send_fault

MEDIA = Path(str(files("proxy.sandbox"))) / "media"
FOLDERS = {
    rendition.folder
    for rendition in (
        *playlists.VOD_RENDITIONS,
        *playlists.LIVE_RENDITIONS,
        *playlists.FMP4_RENDITIONS,
    )
}
M3U8 = "application/vnd.apple.mpegurl"
CONTENT_TYPES = {"ts": "video/mp2t", "m4s": "video/mp4", "mp4": "video/mp4"}
CHALLENGE = "<!doctype html><title>Just a moment</title><p>Are you a robot?</p>"
# Pixels in the URL. The sandbox has MP4 files of two sizes only: 180 and 360 pixels high.
SMALL_FILE_MAX_HEIGHT = 480
POSTER = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 640 360'>"
    "<rect width='640' height='360' fill='#235'/>"
    "<text x='320' y='190' fill='#fff' font-size='40' text-anchor='middle' "
    "font-family='sans-serif'>{video}</text></svg>"
)

# A browser that follows the edge's redirect sends `Origin: null`, so only `*` allows it.
CORS = {"Access-Control-Allow-Origin": "*", "Cache-Control": "no-store"}


async def serve_manifest(request: web.Request) -> web.StreamResponse:
    """Serve the multivariant playlist of a video."""
    sandbox, video, sec = request.app[STATE], request.match_info["video"], _read_sec(request)
    if (refusal := await _find_refusal(request, "playlist", video, sec)) is not None:
        return refusal
    if video == CHALLENGED:
        return web.Response(text=CHALLENGE, content_type="text/html", headers=CORS)
    return _build_playlist_response(playlists.build_multivariant(sandbox.origin, video, sec))


async def serve_media_playlist(request: web.Request) -> web.StreamResponse:
    """Serve the media playlist of a variant."""
    video, folder = request.match_info["video"], request.match_info["folder"]
    if (refusal := await _find_refusal(request, "playlist", video, _read_sec(request))) is not None:
        return refusal
    sandbox = request.app[STATE]
    if video in CHANNELS:
        if video == LIVE_BLOCKING and (number := request.query.get("_HLS_msn", "")).isdecimal():
            await _wait_for_segment(int(number), sandbox)
        return _build_playlist_response(
            playlists.build_live_playlist(video, folder, on_air=sandbox.get_time_on_air())
        )
    return _build_playlist_response(
        playlists.build_vod_playlist(sandbox.origin, video, _read_sec(request), folder)
    )


async def _wait_for_segment(number: int, sandbox: Sandbox) -> None:
    """Wait until the live playlist contains this segment (RFC 8216bis, 6.2.5.2)."""
    try:
        async with asyncio.timeout(3 * playlists.SEGMENT_SECONDS):
            while playlists.get_newest_segment(sandbox.get_time_on_air()) < number:  # noqa: ASYNC110  # polls the clock
                await asyncio.sleep(0.05)
    except TimeoutError:
        return


async def serve_segment(request: web.Request) -> web.StreamResponse:
    """Serve a media segment or an initialization section."""
    video, folder = request.match_info["video"], request.match_info["folder"]
    if (refusal := await _find_refusal(request, "segment", video, _read_sec(request))) is not None:
        return refusal
    number, kind = int(request.match_info.get("number", "0")), request.match_info["kind"]
    name = "init" if kind == "mp4" else number % playlists.SEGMENT_COUNT
    file = MEDIA / folder / f"{name}.{kind}"
    if folder not in FOLDERS or not file.is_file():
        return web.Response(status=404, headers=CORS)
    if video == KEYED:
        body = playlists.encrypt_segment(file.read_bytes(), number)
        return web.Response(body=body, content_type=CONTENT_TYPES[kind], headers=CORS)
    # FileResponse supports ranges and conditional requests, as CDNs do.
    return web.FileResponse(file, headers={**CORS, "Content-Type": CONTENT_TYPES[kind]})


async def serve_file(request: web.Request) -> web.StreamResponse:
    """Serve an MP4 file; `download=1` adds Content-Disposition: attachment."""
    video, sec = request.match_info["video"], _read_sec(request)
    if (refusal := await _find_refusal(request, "segment", video, sec)) is not None:
        return refusal
    request.app[STATE].ranges.append(request.headers.get("Range", ""))
    is_small = int(request.match_info["height"]) <= SMALL_FILE_MAX_HEIGHT
    headers = {**CORS, "Content-Type": "video/mp4"}
    if request.query.get("download") == "1":
        headers["Content-Disposition"] = f'attachment; filename="{video}.mp4"'
    return web.FileResponse(MEDIA / f"file_{180 if is_small else 360}.mp4", headers=headers)


async def serve_thumbnail(request: web.Request) -> web.Response:
    """Serve a poster image that shows the video ID."""
    video = request.match_info["video"]
    return web.Response(text=POSTER.format(video=video), content_type="image/svg+xml")


async def serve_key(request: web.Request) -> web.StreamResponse:
    """Serve the AES-128 key of the encrypted video."""
    video, sec = request.match_info["video"], _read_sec(request)
    if (refusal := await _find_refusal(request, "segment", video, sec)) is not None:
        return refusal
    return web.Response(body=playlists.KEY, headers=CORS)


async def serve_subtitles(request: web.Request) -> web.StreamResponse:
    """Serve the playlist of the subtitle track, or its only segment."""
    video, sec = request.match_info["video"], _read_sec(request)
    if (refusal := await _find_refusal(request, "playlist", video, sec)) is not None:
        return refusal
    if request.match_info["kind"] == "m3u8":
        return _build_playlist_response(playlists.build_subtitle_playlist(video, sec))
    return web.Response(text=playlists.build_subtitle_text(), content_type="text/vtt", headers=CORS)


def _read_sec(request: web.Request) -> str:
    return request.match_info.get("sec") or request.query.get("sec", "")


async def _find_refusal(
    request: web.Request, kind: str, video: str, sec: str
) -> web.StreamResponse | None:
    """Return the injected fault or a 403, or None if the request is allowed."""
    sandbox = request.app[STATE]
    fault = await sandbox.controls.pass_through("segment" if kind == "segment" else "playlist")
    if fault is not None:
        return await send_fault(request, fault)
    try:
        sandbox.locks.check(sec, video=video, address=request.remote or "", now=sandbox.now())
    except LockError as error:
        # The real CDN gives no reason. This header helps developers, and no player reads it.
        reason = {"X-Sandbox-Why": str(error)}
        return web.Response(status=403, text="Forbidden\n", headers={**CORS, **reason})
    return None


def _build_playlist_response(text: str) -> web.Response:
    return web.Response(text=text, content_type=M3U8, headers=CORS)
