"""Where Dailymotion's APIs live: by generation, and by the kind of API key that is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Generation = Literal["legacy", "v2"]
DirectGrant = Literal["client_credentials", "password"]  # needs nobody at a browser
Flag = Literal["no_expire", "no_ip_lock"]  # what may be given up for all stream URLs alike
Grant = DirectGrant | Literal["authorization_code"]
KeyKind = Literal["private", "public"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """What one kind of key talks to, and the scope that lets it have stream URLs."""

    token_url: str
    rest_url: str
    scope: str


ENDPOINTS: dict[tuple[Generation, KeyKind], Endpoints] = {
    ("legacy", "private"): Endpoints(
        token_url="https://partner.api.dailymotion.com/oauth/v1/token",  # noqa: S106  # a URL
        rest_url="https://partner.api.dailymotion.com/rest",
        scope="read_video_streams",
    ),
    ("legacy", "public"): Endpoints(
        token_url="https://api.dailymotion.com/oauth/token",  # noqa: S106  # a URL
        rest_url="https://api.dailymotion.com",
        scope="read_video_streams",
    ),
    ("v2", "private"): Endpoints(
        token_url="https://oauth2.dailymotion.com/v2/token",  # noqa: S106  # a URL
        rest_url="https://api.dailymotion.com/v2",
        scope="video.read",
    ),
}

# Scopes for managing videos.
MANAGING: dict[KeyKind, str] = {
    "private": "read_videos upload_videos edit_videos delete_videos",
    "public": "manage_videos",
}


def kind_of_key(grant: Grant) -> KeyKind:
    """Return the kind of API key that has this grant; no key has both kinds'."""
    return "private" if grant == "client_credentials" else "public"


def endpoints_of(api: Generation, grant: Grant) -> Endpoints:
    """Return where a key with this grant is known. API v2 knows private keys only."""
    return ENDPOINTS[api, kind_of_key(grant)]
