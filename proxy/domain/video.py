"""Validate video IDs, and hide private video IDs in logs."""

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import NewType

from proxy.domain.reasons import Reason, Refusal

VideoId = NewType("VideoId", str)

# No official grammar exists; this pattern matches the IDs seen in public. The setting
# `platform.video_id_pattern` can replace it.
DEFAULT_PATTERN = "[xk][A-Za-z0-9]{1,31}"

# No setting can allow other IDs: these are safe in a path, a query and a header.
SAFE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoDetails:
    """A video's details for pages; `title` and `poster` are empty if the platform omits them."""

    title: str = ""
    poster: str = ""
    is_on_air: bool = False


def parse_video_id(text: str, pattern: re.Pattern[str]) -> VideoId:
    """Validate a video ID; upper and lower case are preserved.

    Raises:
        Refusal: `video-not-found`.
    """
    if SAFE_ID.fullmatch(text) is None or pattern.fullmatch(text) is None:
        raise Refusal(
            Reason.VIDEO_NOT_FOUND, "the video ID does not match platform.video_id_pattern"
        )
    return VideoId(text)


def parse_named_video(text: str, pattern: re.Pattern[str]) -> VideoId:
    """Validate a video ID from the operator or a back end.

    Raises:
        Refusal: `request-invalid`, with a message that quotes the text.
    """
    try:
        return parse_video_id(text, pattern)
    except Refusal:
        message = f"{text!r} is not a video ID: it does not match platform.video_id_pattern."
        raise Refusal(Reason.REQUEST_INVALID, message=message) from None


def to_loggable_id(video: VideoId) -> str:
    """Return a video ID for logs, with a short hash in place of a private ID (`k…`).

    A private ID is a secret, because anyone who knows it can watch the video.
    """
    if not video.startswith("k"):
        return video
    return f"k-{sha256(video.encode()).hexdigest()[:8]}"
