"""What only operators and nginx may ask."""

from __future__ import annotations

from datetime import UTC, datetime
from math import isfinite

from aiohttp import hdrs, web

from proxy.domain.original_uri import Original, read_original, video_of
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.video import VideoId, loggable
from proxy.edge.health import Trouble, Watched
from proxy.edge.issuers import Issuers
from proxy.web.reading import (
    header_tokens,
    is_from_proxy,
    note_session,
    note_token,
    read_viewer,
)
from proxy.web.services import SERVICES
from proxy.web.trace import TRACE

RELAYED_BYTES = "/relay/bytes/"
STATE: tuple[Watched, ...] = ("state", "pull")  # the graver first


async def auth(request: web.Request) -> web.Response:
    """Tell nginx whether the original request may have what it asks for."""
    services = request[SERVICES]
    if not is_from_proxy(request):
        raise Refusal(Reason.PEER_UNTRUSTED)
    original = read_original(
        uris=request.headers.getall("X-Original-URI", []),
        paths=request.headers.getall("X-Original-Path", []),
        methods=request.headers.getall("X-Original-Method", []),
    )
    if original.path.startswith(RELAYED_BYTES):
        return await authorize_bytes(request, original)
    video = video_of(original.path, services.auth_paths, services.video_id_pattern)
    request[TRACE].video = video
    viewer = read_viewer(request)

    tokens = [*original.query_tokens, *header_tokens(request)]
    shown = await services.admission.verify(tokens)
    note_token(request, shown.claims)
    await services.admission.admit(
        shown,
        video=video,
        formats=["hls"],
        viewer=viewer,
        is_play=False,  # but one of many segments
        is_use=original.method == hdrs.METH_GET,
    )
    return allowed(video, shown.claims.subject)


async def authorize_bytes(request: web.Request, original: Original) -> web.Response:
    """Tell nginx where the bytes of a relayed session are, for it to fetch them itself."""
    relay, viewer = request[SERVICES].relay, read_viewer(request)
    sealed = relay.find_bytes(original.path, original.parameters)
    note_session(request, sealed.session)
    relay.admit(sealed.session, viewer)
    response = allowed(sealed.session.video, sealed.session.subject)
    response.headers["X-Playgate-Upstream"] = sealed.url
    return response


def allowed(video: VideoId, subject: str | None) -> web.Response:
    """Return a yes for nginx, with what its log may show."""
    headers = {"X-Playgate-Video": loggable(video)}
    if subject is not None:
        headers["X-Playgate-Subject"] = subject
    return web.Response(status=204, headers=headers)


async def metrics(request: web.Request) -> web.Response:
    """Answer Prometheus."""
    body = request[SERVICES].metrics.render()
    return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4"})


async def healthz(_request: web.Request) -> web.Response:
    """Say that the process lives."""
    return web.json_response({"status": "alive"})


async def readyz(request: web.Request) -> web.Response:
    """Say whether players should be sent here, and what is wrong, if anything."""
    services = request[SERVICES]
    health, age = services.health, services.revocations.age
    reason, troubles = health.not_ready, health.troubles
    body = {
        "status": "ready" if reason is None else str(reason),
        "access_token": health.has_access_token,
        "platform": {
            operation: describe(it) for operation, it in troubles.items() if operation not in STATE
        },
        "state": next((describe(troubles[it]) for it in STATE if it in troubles), None),
        "revocations_age": round(age, 3) if isfinite(age) else None,
        "issuers": {
            name: describe_issuer(services.issuers, name) for name in services.issuers.published
        },
        "settings": {
            "since": moment(health.loaded.at),
            "problems": health.loaded.problems,
            "need_restart": health.loaded.need_restart,
        },
    }
    return web.json_response(body, status=200 if reason is None else reason.status)


def describe(trouble: Trouble) -> dict[str, str]:
    """Return a trouble as /readyz tells it."""
    return {
        "reason": str(trouble.reason),
        "message": trouble.reason.message,
        "detail": trouble.detail,
        "since": moment(trouble.since),
    }


def describe_issuer(issuers: Issuers, name: str) -> dict[str, str | float | int | None]:
    """Return what is known of an issuer's keys as /readyz tells it."""
    known = issuers.published[name]
    age = issuers.age(known)
    return {
        "keys": len(known.keys),
        "age": None if age is None else round(age, 3),
        "trouble": known.trouble or None,
    }


def moment(seconds: float) -> str:
    """Return a moment as people read it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
