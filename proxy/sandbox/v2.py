"""The sandbox's API v2: it returns only HLS stream URLs, and errors have codes in words.

Of the real API's codes, only RESOURCE_NOT_FOUND is known. The other codes are guesses: the
Legacy API's error types in capitals.
"""

import asyncio
import json
from typing import Any
from uuid import uuid4

from aiohttp import web

from proxy.sandbox.api import (
    GARBAGE_BODY,
    SLOW_SECONDS,
    STREAM_FLAGS,
    find_access_grant,
    is_address,
)
from proxy.sandbox.catalogue import MISSING, VIDEOS, Video
from proxy.sandbox.state import STATE, send_fault
from proxy.sandbox.streams import build_stream_url

SCOPE = "video.read"
PROTOCOLS = ("hls", "dash", "hbbtv")
HLS_FIELDS = ("stream_hls_url", "stream_live_hls_url")


async def get_streams(request: web.Request) -> web.StreamResponse:
    """Handle POST /v2/videos/ID/streams: return the HLS stream URLs of a video."""
    sandbox = request.app[STATE]
    if (fault := await sandbox.controls.pass_through("video")) is not None:
        return await send_fault(request, fault)
    video_id = request.match_info["video_id"]
    video = sandbox.videos.get(video_id, VIDEOS[MISSING])
    body = await _read_body(request)
    if (refusal := _find_error(request, video, body)) is not None:
        return refusal
    if video.behaviour == "slow":
        await asyncio.sleep(SLOW_SECONDS)
    if video.behaviour == "garbage":
        return web.Response(text=GARBAGE_BODY, content_type="text/html")
    client_ip = body.get("client_ip", request.remote or "")
    flags = frozenset(name for name in STREAM_FLAGS if body.get(name) is True)
    urls = [
        url
        for field in HLS_FIELDS
        if (
            url := build_stream_url(
                sandbox, video_id, video, field, client_ip=client_ip, flags=flags
            )
        )
        is not None
    ]
    return web.json_response({"stream_urls": [{"stream_url": url} for url in urls]})


def _find_error(request: web.Request, video: Video, body: dict[str, Any]) -> web.Response | None:
    access = find_access_grant(request, request.app[STATE])
    if access is None:
        return _build_error(401, "UNAUTHORIZED", "The access token is invalid or has expired")
    if SCOPE not in access.scope.split():
        return _build_error(403, "FORBIDDEN", "Insufficient scope", reason="insufficient_scope")
    if body.get("protocol", "hls") != "hls":
        return _build_error(
            400, "INVALID_PARAMETER", f"protocol must be one of {', '.join(PROTOCOLS)}"
        )
    if not is_address(body.get("client_ip", "127.0.0.1")):
        return _build_error(400, "INVALID_PARAMETER", "client_ip is not an address")
    if video.error is None:
        return None
    status, legacy_body = video.error
    error = legacy_body["error"]
    code = "RESOURCE_NOT_FOUND" if error["type"] == "not_found" else error["type"].upper()
    return _build_error(status, code, error["message"], **error["error_data"])


async def _read_body(request: web.Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.read() or b"{}")
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _build_error(status: int, code: str, message: str, **details: Any) -> web.Response:
    error = {
        "code": code,
        "message": message,
        "correlation_id": str(uuid4()),
        "details": details,
        "documentation_url": "https://developers.dailymotion.com/",
    }
    return web.json_response({"error": error}, status=status)
