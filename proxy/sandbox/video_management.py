"""The sandbox's calls for managing videos: list, upload, publish, edit and delete.

An uploaded file is measured and discarded; the published video plays the sandbox's own media.
"""

import secrets
from dataclasses import replace
from typing import Any

from aiohttp import web

from proxy.sandbox.accounts import CHANNEL_ID
from proxy.sandbox.api import (
    build_error_response,
    build_parameter_error,
    check_access,
    find_access_grant,
)
from proxy.sandbox.catalogue import NOT_FOUND, Video, get_field
from proxy.sandbox.state import STATE, send_fault

MAX_PAGE_SIZE = 100
MAX_UPLOADED_BYTES = 64 * 1024 * 1024
EDITABLE_FIELDS = ("title", "published", "private", "is_created_for_kids", "channel")


async def get_upload_url(request: web.Request) -> web.StreamResponse:
    """Handle GET /file/upload: return the URL to upload a file to."""
    if (refusal := await _check_access(request, "upload_videos")) is not None:
        return refusal
    origin, upload_id = request.app[STATE].origin, secrets.token_hex(8)
    request.app[STATE].uploads[upload_id] = 0
    return web.json_response(
        {
            "upload_url": f"{origin}/upload?uuid={upload_id}",
            "progress_url": f"{origin}/progress?uuid={upload_id}",
        }
    )


async def upload(request: web.Request) -> web.StreamResponse:
    """Receive an upload: the part `file` of a multipart body."""
    if (fault := await request.app[STATE].controls.pass_through("upload")) is not None:
        return await send_fault(request, fault)
    upload_id, size = request.query.get("uuid", ""), 0
    if upload_id not in request.app[STATE].uploads:
        return web.json_response({"error": "unknown upload"}, status=404)
    parts = await request.multipart()
    async for part in parts:
        if getattr(part, "name", None) != "file":
            continue
        while chunk := await part.read_chunk(65536):  # type: ignore[union-attr]  # no nested multipart
            size += len(chunk)
            if size > MAX_UPLOADED_BYTES:
                return web.json_response({"error": "too large for the sandbox"}, status=413)
    if not size:
        return web.json_response({"error": "no file"}, status=400)
    request.app[STATE].uploads[upload_id] = size
    return web.json_response(
        {
            "url": f"{request.app[STATE].origin}/uploaded/{upload_id}",
            "size": size,
            "name": upload_id,
        }
    )


async def publish(request: web.Request) -> web.StreamResponse:
    """Handle POST /user/ID/videos: publish an uploaded file as a video."""
    if (refusal := await _check_access(request, "upload_videos")) is not None:
        return refusal
    sandbox, form = request.app[STATE], await request.post()
    for name in ("url", "title", "channel", "is_created_for_kids"):
        if not form.get(name):
            return build_error_response(build_parameter_error("missing_required_parameter", name))
    upload_id = str(form["url"]).rpartition("/")[2]
    if not sandbox.uploads.pop(upload_id, 0):
        return build_error_response(build_parameter_error("invalid_parameter", "url"))
    video_id = f"x9{secrets.randbelow(36**4):06d}"
    sandbox.videos[video_id] = Video(
        title=str(form["title"]),
        expect="plays",
        fields={
            "mode": "vod",
            "duration": 12,
            "published": form.get("published") == "true",
            "private": form.get("private") == "true",
        },
    )
    return web.json_response({"id": video_id, "title": form["title"]})


async def edit(request: web.Request) -> web.StreamResponse:
    """Handle POST /video/ID: change fields of a video."""
    if (refusal := await _check_access(request, "edit_videos")) is not None:
        return refusal
    sandbox, video_id = request.app[STATE], request.match_info["video_id"]
    if (video := sandbox.videos.get(video_id)) is None:
        return build_error_response(NOT_FOUND)
    form = {name: str(value) for name, value in (await request.post()).items()}
    if unknown := [name for name in form if name not in EDITABLE_FIELDS]:
        return build_error_response(build_parameter_error("invalid_parameter", unknown[0]))
    title = form.pop("title", video.title)
    changes = {
        name: value == "true" if name != "channel" else value for name, value in form.items()
    }
    sandbox.videos[video_id] = replace(video, title=title, fields={**video.fields, **changes})
    return web.json_response({"id": video_id, "title": title})


async def delete(request: web.Request) -> web.StreamResponse:
    """Handle DELETE /video/ID."""
    if (refusal := await _check_access(request, "delete_videos")) is not None:
        return refusal
    video_id = request.match_info["video_id"]
    if request.app[STATE].videos.pop(video_id, None) is None:
        return build_error_response(NOT_FOUND)
    return web.json_response({"id": video_id})


async def list_videos(request: web.Request) -> web.StreamResponse:
    """Handle GET /user/ID/videos: return one page of the videos."""
    if (refusal := await _check_access(request, "read_videos")) is not None:
        return refusal
    if request.match_info["user_id"] not in {CHANNEL_ID, "me"}:
        return build_error_response(NOT_FOUND)
    page, limit = _read_number(request, "page", 1), _read_number(request, "limit", 10)
    if not 1 <= limit <= MAX_PAGE_SIZE or page < 1:
        return build_error_response(build_parameter_error("invalid_parameter", "limit"))
    sandbox, names = request.app[STATE], request.query.get("fields", "id,title").split(",")
    videos = [(name, video) for name, video in sandbox.videos.items() if video.error is None]
    first = (page - 1) * limit
    rows: list[dict[str, Any]] = [
        {name: get_field(sandbox.origin, video_id, video, name) for name in names}
        for video_id, video in videos[first : first + limit]
    ]
    return web.json_response(
        {
            "page": page,
            "limit": limit,
            "explicit": False,
            "total": len(videos),
            "has_more": first + limit < len(videos),
            "list": rows,
        }
    )


async def _check_access(request: web.Request, scope: str) -> web.StreamResponse | None:
    if (fault := await request.app[STATE].controls.pass_through("manage")) is not None:
        return await send_fault(request, fault)
    access = find_access_grant(request, request.app[STATE])
    # A token of a user's login may have manage_videos instead of the scope of a private key.
    login_scopes = {"manage_videos"} if access is not None and access.login else set()
    return check_access(request, {scope} | login_scopes, f"can-{scope.replace('_', '-')}")


def _read_number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, str(default))
    return int(text) if text.isdecimal() else 0
