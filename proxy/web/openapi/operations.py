"""What each route takes, gives and refuses; by the routes' names and methods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from aiohttp import hdrs
from pydantic import BaseModel

from proxy.domain.reasons import Reason
from proxy.web.openapi import schemas
from proxy.web.operator_api import RevocationRequest, TokenRequest

# What the caller has to show; a question is about what another request shows.
Shown = Literal["nothing", "token", "question", "operator-key"]

M3U8, JSON = "application/vnd.apple.mpegurl", "application/json"


@dataclass(frozen=True, slots=True)
class Given:
    """An answer that is no refusal."""

    text: str
    media_type: str = ""  # of its content, if it has any
    schema: schemas.Schema | None = None  # none: not JSON
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What one method of a route is for."""

    summary: str
    gives: Mapping[int, Given]
    refuses: frozenset[Reason]
    parameters: tuple[schemas.Schema, ...] = ()
    takes: type[BaseModel] | None = None
    shown: Shown = "nothing"


# Whatever is asked: what is no HTTP, and a bug.
ALWAYS = frozenset({Reason.REQUEST_INVALID, Reason.INTERNAL})
TOKEN = frozenset(it for it in Reason if it.startswith("token-")) | {Reason.STATE_UNAVAILABLE}
VIEWER = frozenset({Reason.VIEWER_PRIVATE})
SEAL = frozenset(it for it in Reason if it.startswith("seal-"))
PLATFORM = frozenset(it for it in Reason if it.startswith("platform-")) | {Reason.OVERLOADED}
VIDEO = frozenset(it for it in Reason if it.startswith("video-"))
STREAM = frozenset(
    {
        *VIDEO,
        *PLATFORM,
        Reason.STREAM_UNAVAILABLE,
        Reason.LIVE_OFF_AIR,
        Reason.FORMAT_UNAVAILABLE,
        Reason.STREAM_HOST_NOT_ALLOWED,
        Reason.PLAYLIST_INVALID,
    }
)
PLAYED = ALWAYS | TOKEN | VIEWER | STREAM | {Reason.RATE_LIMITED}
# What the account may do is no matter of the CDN's.
CDN = PLATFORM - {Reason.PLATFORM_CREDENTIALS, Reason.PLATFORM_PERMISSION}
RELAYED = (
    ALWAYS
    | VIEWER
    | SEAL
    | CDN
    | {
        Reason.TOKEN_REVOKED,
        Reason.STATE_UNAVAILABLE,
        Reason.STREAM_UNAVAILABLE,
        Reason.STREAM_HOST_NOT_ALLOWED,
        Reason.RATE_LIMITED,
    }
)
ASKED = ALWAYS | VIEWER | {Reason.PEER_UNTRUSTED, Reason.PATH_NOT_COVERED}
OPERATED = ALWAYS | {Reason.OPERATOR_KEY, Reason.STATE_UNAVAILABLE}

REDIRECTED = Given("Where the video is, for this viewer alone", headers=("Location",))
UNSETTLED = "To a HEAD before the token's first use, and nothing else"
WHOSE = ("X-Playgate-Video", "X-Playgate-Subject", "X-Playgate-Issuer")
BYTES = Given("The bytes, as they come from Dailymotion", "*/*", headers=(hdrs.CONTENT_RANGE,))

OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("play", hdrs.METH_GET): Operation(
        summary="Play a video or a live channel with HLS",
        shown="token",
        gives={302: REDIRECTED, 200: Given("The playlist, where it is relayed", M3U8)},
        refuses=PLAYED,
    ),
    ("play", hdrs.METH_HEAD): Operation(
        summary="The same, without being a use of the token",
        shown="token",
        gives={302: REDIRECTED, 200: Given(f"As to a GET; or: {UNSETTLED}")},
        refuses=PLAYED,
    ),
    ("play-file", hdrs.METH_GET): Operation(
        summary="Play or download a video as one file",
        parameters=schemas.CHOICE,
        shown="token",
        gives={302: REDIRECTED},
        refuses=PLAYED,
    ),
    ("play-file", hdrs.METH_HEAD): Operation(
        summary="The same, without being a use of the token",
        parameters=schemas.CHOICE,
        shown="token",
        gives={302: REDIRECTED, 200: Given(UNSETTLED)},
        refuses=PLAYED,
    ),
    ("probe", hdrs.METH_GET): Operation(
        summary="Tell playgate doctor whom the edge sees",
        parameters=(schemas.PROBE_TOKEN,),
        gives={200: Given("Whom it sees, and why", JSON, schemas.reference("Probe"))},
        refuses=ALWAYS | VIEWER | {Reason.NOT_FOUND},
    ),
    ("stream-urls", hdrs.METH_GET): Operation(
        summary="Tell the stream URLs of whoever asks",
        parameters=(schemas.QUERIED_VIDEO_ID, schemas.FIELDS),
        shown="token",
        gives={200: Given("A URL for each format, or null", JSON, schemas.reference("StreamUrls"))},
        refuses=PLAYED,
    ),
    ("relayed-playlist", hdrs.METH_GET): Operation(
        summary="Serve a playlist of a relayed playback; the path is made by /play",
        gives={200: Given("The playlist", M3U8)},
        refuses=RELAYED | {Reason.FORMAT_UNAVAILABLE, Reason.PLAYLIST_INVALID},
    ),
    ("relayed-bytes", hdrs.METH_GET): Operation(
        summary="Serve a segment, a key or a file of a relayed playback",
        gives={
            200: BYTES,
            206: BYTES,
            304: Given("As it was when it was asked for before"),
            416: Given("The range is beyond its end", headers=(hdrs.CONTENT_RANGE,)),
        },
        refuses=RELAYED,
    ),
    ("watch", hdrs.METH_GET): Operation(
        summary="Show the player page; its token stands behind the #",
        gives={200: Given("The page", "text/html")},
        refuses=ALWAYS | {Reason.VIDEO_NOT_FOUND},
    ),
    ("details", hdrs.METH_GET): Operation(
        summary="Tell the player page what it shows around the video",
        shown="token",
        gives={200: Given("What is known of it", JSON, schemas.reference("Details"))},
        refuses=ALWAYS
        | TOKEN
        | VIEWER
        | VIDEO
        | PLATFORM
        | {Reason.STREAM_UNAVAILABLE, Reason.RATE_LIMITED},
    ),
    ("asset", hdrs.METH_GET): Operation(
        summary="Serve a file of the player page",
        gives={200: Given("The file", "text/*")},
        refuses=ALWAYS | {Reason.NOT_FOUND},
    ),
    ("auth", hdrs.METH_ANY): Operation(
        summary="Tell nginx (auth_request) whether the original request may have what it asks for",
        parameters=schemas.ASKED_BY_NGINX,
        shown="question",
        gives={204: Given("It may", headers=(*WHOSE, "X-Playgate-Upstream"))},
        refuses=ASKED | TOKEN | SEAL | {Reason.STREAM_HOST_NOT_ALLOWED},
    ),
    ("forward-auth", hdrs.METH_ANY): Operation(
        summary="Tell Caddy (forward_auth) or Traefik (ForwardAuth) the same",
        parameters=schemas.ASKED_BY_OTHERS,
        shown="question",
        gives={204: Given("It may", headers=(*WHOSE, hdrs.SET_COOKIE))},
        refuses=ASKED | TOKEN,
    ),
    ("metrics", hdrs.METH_GET): Operation(
        summary="Answer Prometheus",
        gives={200: Given("Every metric", "text/plain")},
        refuses=ALWAYS,
    ),
    ("healthz", hdrs.METH_GET): Operation(
        summary="Say that the process lives",
        gives={200: Given("It does", JSON, schemas.reference("Alive"))},
        refuses=ALWAYS,
    ),
    ("readyz", hdrs.METH_GET): Operation(
        summary="Say whether players should be sent here, and what is wrong, if anything",
        gives={
            200: Given("They should", JSON, schemas.reference("Readiness")),
            503: Given("Not yet, or not any more", JSON, schemas.reference("Readiness")),
        },
        refuses=ALWAYS,
    ),
    ("tokens", hdrs.METH_POST): Operation(
        summary="Mint a token",
        takes=TokenRequest,
        shown="operator-key",
        gives={201: Given("The token", JSON, schemas.reference("Token"))},
        refuses=OPERATED - {Reason.STATE_UNAVAILABLE},
    ),
    ("revocations", hdrs.METH_GET): Operation(
        summary="Tell which revocations are in force",
        shown="operator-key",
        gives={200: Given("All of them", JSON, schemas.reference("Revocations"))},
        refuses=OPERATED - {Reason.STATE_UNAVAILABLE},
    ),
    ("revocations", hdrs.METH_POST): Operation(
        summary="Revoke tokens on every instance, or undo that",
        takes=RevocationRequest,
        shown="operator-key",
        gives={
            200: Given("The revocation is undone", JSON, schemas.reference("UndoneRevocation")),
            201: Given("The revocation is in force", JSON, schemas.reference("Revocation")),
        },
        refuses=OPERATED,
    ),
    ("openapi", hdrs.METH_GET): Operation(
        summary="Describe this port",
        gives={200: Given("This description", JSON, schemas.OBJECT)},
        refuses=ALWAYS,
    ),
}


PREFLIGHT = Operation(
    summary="Tell a browser that it may ask (CORS)", gives={204: Given("It may")}, refuses=ALWAYS
)


def operation(route: str, method: str) -> Operation:
    """Return what a method of a route is for; a HEAD mostly for what a GET is."""
    if (route, hdrs.METH_ANY) in OPERATIONS:
        return OPERATIONS[route, hdrs.METH_ANY]
    if method == hdrs.METH_OPTIONS:
        return PREFLIGHT
    if method == hdrs.METH_HEAD and (route, method) not in OPERATIONS:
        return OPERATIONS[route, hdrs.METH_GET]
    return OPERATIONS[route, method]
