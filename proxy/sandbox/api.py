"""The sandbox's Legacy API: token endpoint, /video, /echo, /auth; errors in their real shapes."""

from __future__ import annotations

import asyncio
import secrets
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from proxy.sandbox.catalogue import CHANNELS, MISSING, VIDEOS, Video, api_error, field_value
from proxy.sandbox.state import STATE, Sandbox, answer_fault

SLOW_SECONDS = 10.0
STREAM_SCOPES = {"read_video_streams", "manage_videos"}


async def token(request: web.Request) -> web.StreamResponse:
    """Grant an access token for the account's API key (RFC 6749, 4.4)."""
    sandbox = request.app[STATE]
    if (fault := await sandbox.controls.pass_through("token")) is not None:
        return await answer_fault(request, fault)
    form = await request.post()
    if form.get("grant_type") != "client_credentials":
        return _oauth_error(
            "unsupported_grant_type", "A private key takes grant_type=client_credentials"
        )
    if (form.get("client_id"), form.get("client_secret")) != sandbox.credentials:
        return _oauth_error("invalid_client", "Invalid client_id or client_secret")
    scope = str(form.get("scope", ""))
    value = secrets.token_urlsafe(24)
    sandbox.access_tokens[value] = (sandbox.now() + sandbox.access_token_ttl, scope)
    return web.json_response(
        {
            "access_token": value,
            "token_type": "Bearer",
            "expires_in": sandbox.access_token_ttl,
            "scope": scope,
        }
    )


async def video(request: web.Request) -> web.StreamResponse:
    """Answer GET /rest/video/ID: the fields asked for, stream URLs locked to client_ip."""
    sandbox = request.app[STATE]
    if (fault := await sandbox.controls.pass_through("video")) is not None:
        return await answer_fault(request, fault)
    video_id, names = request.match_info["video_id"], request.query.get("fields", "id").split(",")
    client_ip = request.query.get("client_ip", request.remote or "")
    known = VIDEOS.get(video_id, VIDEOS[MISSING])
    if (refused := _refusal_of(request, known, names, client_ip)) is not None:
        return refused
    if known.behaviour == "slow":
        await asyncio.sleep(SLOW_SECONDS)
    if known.behaviour == "garbage":
        return web.Response(text="<!doctype html><title>Oops</title>", content_type="text/html")
    return web.json_response(
        {name: _field(sandbox, video_id, known, name, client_ip) for name in names}
    )


def _refusal_of(
    request: web.Request, known: Video, names: list[str], client_ip: str
) -> web.Response | None:
    """Return the error that the API gives for this call, None where it has an answer."""
    if (scope := _scope_of(request, request.app[STATE])) is None:
        return _unauthorized()
    if any("stream_" in name for name in names) and not STREAM_SCOPES & set(scope.split()):
        reason = "can-read-video-streams"
        return _error(api_error(403, "access_forbidden", "Insufficient scope", reason=reason))
    if not _is_address(client_ip):
        return _error(_parameter_error("invalid_parameter", "client_ip"))
    return _error(known.error) if known.error is not None else None


async def echo(request: web.Request) -> web.Response:
    """Answer GET /rest/echo: is my token alive."""
    if _scope_of(request, request.app[STATE]) is None:
        return _unauthorized()
    if "message" not in request.query:
        return _error(_parameter_error("missing_required_parameter", "message"))
    return web.json_response({"message": request.query["message"]})


async def auth(request: web.Request) -> web.Response:
    """Answer GET /rest/auth: who am I, and what may I."""
    scope = _scope_of(request, request.app[STATE])
    if scope is None:
        return _unauthorized()
    return web.json_response({"id": "x1sandbox", "scope": scope.split(), "roles": []})


def _field(sandbox: Sandbox, video_id: str, video: Video, name: str, client_ip: str) -> Any:
    is_live = video.fields.get("mode") == "live"
    wanted = "stream_live_hls_url" if is_live else "stream_hls_url"
    if name != wanted:
        return None if name.startswith("stream_") else field_value(video_id, video, name)
    if video.stream_url is not None:
        return video.stream_url
    if video.behaviour == "error":
        return None
    return stream_url(sandbox, video_id, client_ip)


def stream_url(sandbox: Sandbox, video_id: str, client_ip: str) -> str:
    """Return a stream URL that works for one address, in the shape of the real ones."""
    query = urlencode(
        {
            "sec": sandbox.locks.seal(video_id, client_ip, now=sandbox.now()),
            "dmTs": secrets.randbelow(900_000) + 100_000,
            "dmV1st": secrets.token_hex(16),
        }
    )
    folder = "live" if video_id in CHANNELS else "manifest"
    return f"{sandbox.origin}/cdn/{folder}/video/{video_id}.m3u8?{query}"


def _scope_of(request: web.Request, sandbox: Sandbox) -> str | None:
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    expires_at, scope = sandbox.access_tokens.get(value, (0.0, ""))
    return scope if scheme == "Bearer" and sandbox.now() < expires_at else None


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _unauthorized() -> web.Response:
    status, body = api_error(401, "invalid_token", "The access token is invalid or has expired")
    challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
    return web.json_response(body, status=status, headers=challenge)


def _parameter_error(kind: str, name: str) -> tuple[int, dict[str, Any]]:
    return api_error(400, kind, f"{kind}: {name}", reason=kind, param=name)


def _error(error: tuple[int, dict[str, Any]]) -> web.Response:
    status, body = error
    return web.json_response(body, status=status)


def _oauth_error(name: str, description: str) -> web.Response:
    return web.json_response({"error": name, "error_description": description}, status=400)
