"""The sandbox's Legacy API: /video, /echo, /auth and /logout, with errors in the real format."""

import asyncio
from ipaddress import ip_address
from typing import Any

from aiohttp import web

from proxy.sandbox.accounts import CHANNEL_ID, AccessGrant
from proxy.sandbox.catalogue import MISSING, VIDEOS, Video, build_api_error, get_field
from proxy.sandbox.state import STATE, Sandbox, send_fault
from proxy.sandbox.streams import build_stream_url

SLOW_SECONDS = 10.0
STREAM_SCOPES = {"read_video_streams", "manage_videos"}
STREAM_FLAGS = ("no_expire", "no_ip_lock")
GARBAGE_BODY = "<!doctype html><title>Oops</title>"


async def get_video(request: web.Request) -> web.StreamResponse:
    """Handle GET /video/ID: return the requested fields, with stream URLs locked to `client_ip`."""
    sandbox = request.app[STATE]
    if (fault := await sandbox.controls.pass_through("video")) is not None:
        return await send_fault(request, fault)
    video_id, names = request.match_info["video_id"], request.query.get("fields", "id").split(",")
    client_ip = request.query.get("client_ip", request.remote or "")
    video = sandbox.videos.get(video_id, VIDEOS[MISSING])
    if (refusal := _find_error(request, video, names, client_ip)) is not None:
        return refusal
    if video.behaviour == "slow":
        await asyncio.sleep(SLOW_SECONDS)
    if video.behaviour == "garbage":
        return web.Response(text=GARBAGE_BODY, content_type="text/html")
    flags = frozenset(name for name in STREAM_FLAGS if request.query.get(name) == "1")
    return web.json_response(
        {
            name: build_stream_url(sandbox, video_id, video, name, client_ip=client_ip, flags=flags)
            if name.startswith("stream_")
            else get_field(sandbox.origin, video_id, video, name)
            for name in names
        }
    )


def _find_error(
    request: web.Request, video: Video, names: list[str], client_ip: str
) -> web.Response | None:
    """Return the API's error response for this call, or None if the call succeeds."""
    scopes = STREAM_SCOPES if any("stream_" in name for name in names) else None
    if (refusal := check_access(request, scopes, "can-read-video-streams")) is not None:
        return refusal
    if not is_address(client_ip):
        return build_error_response(build_parameter_error("invalid_parameter", "client_ip"))
    return build_error_response(video.error) if video.error is not None else None


async def echo(request: web.Request) -> web.StreamResponse:
    """Handle GET /echo: clients call it to check whether their access token is valid."""
    if (fault := await request.app[STATE].controls.pass_through("account")) is not None:
        return await send_fault(request, fault)
    if (refusal := check_access(request)) is not None:
        return refusal
    if "message" not in request.query:
        return build_error_response(build_parameter_error("missing_required_parameter", "message"))
    return web.json_response({"message": request.query["message"]})


async def get_identity(request: web.Request) -> web.StreamResponse:
    """Handle GET /auth: return the account, scopes and roles of the access token."""
    if (fault := await request.app[STATE].controls.pass_through("account")) is not None:
        return await send_fault(request, fault)
    access = find_access_grant(request, request.app[STATE])
    if access is None:
        return build_unauthorized_response()
    roles = ["publisher"] if access.login else []
    return web.json_response({"id": CHANNEL_ID, "scope": access.scope.split(), "roles": roles})


async def logout(request: web.Request) -> web.StreamResponse:
    """Handle GET /logout: revoke the access token and the refresh tokens of its login."""
    if (fault := await request.app[STATE].controls.pass_through("account")) is not None:
        return await send_fault(request, fault)
    if (refusal := check_access(request)) is not None:
        return refusal
    request.app[STATE].accounts.revoke(read_bearer(request))
    return web.json_response({})


def check_access(
    request: web.Request, scopes: set[str] | None = None, reason: str = ""
) -> web.Response | None:
    """Return an error response if the access token is invalid or has none of these scopes.

    Without `scopes`, every valid access token is accepted.
    """
    access = find_access_grant(request, request.app[STATE])
    if access is None:
        return build_unauthorized_response()
    if scopes is not None and not scopes & set(access.scope.split()):
        return build_error_response(
            build_api_error(403, "access_forbidden", "Insufficient scope", reason=reason)
        )
    return None


def find_access_grant(request: web.Request, sandbox: Sandbox) -> AccessGrant | None:
    """Return the rights of the request's access token, or None if it is unknown or expired."""
    access = sandbox.accounts.access_tokens.get(read_bearer(request))
    return access if access is not None and sandbox.now() < access.expires_at else None


def read_bearer(request: web.Request) -> str:
    """Return the request's bearer token without checking it, or an empty string."""
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    return value if scheme == "Bearer" else ""


def is_address(text: str) -> bool:
    """Check whether a text is an IP address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def build_unauthorized_response() -> web.Response:
    """Build the 401 response to a missing, invalid or expired access token."""
    status, body = build_api_error(
        401, "invalid_token", "The access token is invalid or has expired"
    )
    challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
    return web.json_response(body, status=status, headers=challenge)


def build_parameter_error(kind: str, name: str) -> tuple[int, dict[str, Any]]:
    """Build the status and the body of an error about a parameter."""
    return build_api_error(400, kind, f"{kind}: {name}", reason=kind, param=name)


def build_error_response(error: tuple[int, dict[str, Any]]) -> web.Response:
    """Build the response for an error of the API."""
    status, body = error
    return web.json_response(body, status=status)
