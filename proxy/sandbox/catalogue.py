"""The videos of the sandbox, and how its API responds for each video ID."""

from dataclasses import dataclass, field
from typing import Any, Literal

Behaviour = Literal["play", "error", "slow", "garbage"]
Quality = Literal["sd", "hq", "hd", "hd1080", "qhd", "uhd"]

VOD = "x8demo1"
LIVE = "x8live1"
LIVE_BLOCKING = "x8live2"  # a live channel with blocking playlist reload
KEYED = "x8keys1"
FMP4 = "x8fmp41"
TALL = "x8tall1"
EMPTY = "x8empty"
CHALLENGED = "x8robot"
CHANNELS = (LIVE, LIVE_BLOCKING)
MISSING = "x8missing"  # every unknown ID gets the same response


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """A video of the sandbox: its fields, and how the API responds for it."""

    title: str
    expect: str  # for the index page: the result of playing it
    behaviour: Behaviour = "play"
    fields: dict[str, Any] = field(default_factory=dict)
    error: tuple[int, dict[str, Any]] | None = None
    stream_url: str | None = None  # replaces the URL at the sandbox CDN
    qualities: tuple[Quality, ...] = ()  # available as MP4 files


def build_api_error(
    status: int, kind: str, message: str, **data: Any
) -> tuple[int, dict[str, Any]]:
    """Build the HTTP status and the body of a Legacy API error."""
    error = {
        "code": status,
        "message": message,
        "type": kind,
        "more_info": "https://developers.dailymotion.com/api/platform-api/",
        "error_data": data,
    }
    return status, {"error": error}


NOT_FOUND = build_api_error(
    404,
    "not_found",
    "The requested object does not exist",
    reason="object_not_found",
    object_type="video",
    param="id",
)

VIDEOS: dict[str, Video] = {
    VOD: Video(
        title="A VOD: two variants, subtitles, 12 seconds",
        expect="plays",
        fields={"mode": "vod", "duration": 12},
        qualities=("sd", "hq", "hd"),
    ),
    LIVE: Video(
        title="A live channel that never ends",
        expect="plays",
        fields={"mode": "live", "onair": True},
    ),
    LIVE_BLOCKING: Video(
        title="A live channel with blocking playlist reload",
        expect="plays",
        fields={"mode": "live", "onair": True},
    ),
    KEYED: Video(
        title="A VOD encrypted with AES-128", expect="plays", fields={"mode": "vod", "duration": 12}
    ),
    FMP4: Video(
        title="A VOD in fragmented MP4", expect="plays", fields={"mode": "vod", "duration": 12}
    ),
    TALL: Video(
        title="A VOD with MP4 files of hd1080 and larger only",
        expect="plays; format-unavailable as .mp4?quality=hd",
        fields={"mode": "vod", "duration": 12},
        qualities=("hd1080", "qhd", "uhd"),
    ),
    EMPTY: Video(
        title="A playlist without variants",
        expect="a redirect, then a playback error; playlist-invalid in relay mode, and in validate "
        "mode from the second failed check",
        fields={"mode": "vod"},
    ),
    CHALLENGED: Video(
        title="A bot challenge instead of the playlist",
        expect="a redirect, then a playback error; platform-bad-response in relay mode",
        fields={"mode": "vod"},
    ),
    "k8demoPrivateKnownToYou": Video(
        title="A VOD with a private ID, which is never logged",
        expect="plays",
        fields={"mode": "vod", "duration": 12, "private": True},
    ),
    "x8null": Video(
        title="A video that is still encoding: the API returns 200 with null",
        expect="stream-unavailable",
        fields={"mode": "vod", "status": "processing"},
        behaviour="error",
    ),
    "x8offair": Video(
        title="A live channel off air",
        expect="live-off-air",
        fields={"mode": "live", "onair": False},
        behaviour="error",
    ),
    "x8forbidden": Video(
        title="The API key lacks the permission for stream URLs",
        expect="platform-permission",
        behaviour="error",
        error=build_api_error(
            403,
            "access_forbidden",
            "You are not allowed to access this field",
            reason="can-read-video-streams",
        ),
    ),
    "x8private": Video(
        title="A private video",
        expect="video-private",
        behaviour="error",
        error=build_api_error(
            403, "access_forbidden", "This video is private", reason="video_private"
        ),
    ),
    "x8password": Video(
        title="A password-protected video",
        expect="video-password",
        behaviour="error",
        error=build_api_error(
            403,
            "password_protected",
            "This video is protected by a password",
            reason="video_password_protected",
        ),
    ),
    "x8geo": Video(
        title="A video that is blocked in this country",
        expect="video-geoblocked",
        behaviour="error",
        error=build_api_error(
            403, "access_forbidden", "Not available in your country", reason="DM007"
        ),
    ),
    MISSING: Video(
        title="An ID that does not exist",
        expect="video-not-found",
        behaviour="error",
        error=NOT_FOUND,
    ),
    "x8throttled": Video(
        title="The API throttles the request as spam",
        expect="platform-throttled",
        behaviour="error",
        error=build_api_error(403, "access_forbidden", "Request blocked as spam"),
    ),
    "x8slow": Video(
        title="The API responds after ten seconds", expect="platform-timeout", behaviour="slow"
    ),
    "x8error": Video(
        title="The API responds with 500",
        expect="platform-unreachable",
        behaviour="error",
        error=build_api_error(500, "internal_error", "Something went wrong"),
    ),
    "x8garbage": Video(
        title="The API returns 200 with HTML instead of JSON",
        expect="platform-bad-response",
        behaviour="garbage",
    ),
    "x8elsewhere": Video(
        title="A stream URL on a host that does not belong to Dailymotion",
        expect="stream-host-not-allowed",
        stream_url="https://dmcdn.net.evil.example/cdn/manifest/video/x8elsewhere.m3u8",
    ),
}

DEFAULT_FIELDS: dict[str, Any] = {
    "mode": "vod",
    "onair": None,
    "status": "published",
    "published": True,
    "private": False,
    "password_protected": False,
    "geoblocking": ["allow"],
    "duration": 0,
}


def get_field(origin: str, video_id: str, video: Video, name: str) -> Any:
    """Return the API's value of a field that is not a stream URL; None if the field is unknown."""
    if name == "id":
        return video_id
    if name == "title":
        return video.title
    if name == "thumbnail_url":
        return f"{origin}/thumbnail/{video_id}.svg"
    return video.fields.get(name, DEFAULT_FIELDS.get(name))
