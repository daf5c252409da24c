"""Video ids: which texts are one, and how one may be written down."""

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import NewType

from proxy.domain.reasons import Reason, Refusal

VideoId = NewType("VideoId", str)

# No official grammar exists; these are the shapes seen in public. The setting may widen it.
DEFAULT_PATTERN = "[xk][A-Za-z0-9]{1,31}"

# What an id may be at the very widest, so that it is safe in a path, a query and a header.
SAFE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoDetails:
    """What a page says of a video; empty where the platform does not tell."""

    title: str = ""
    poster: str = ""
    is_on_air: bool = False


def parse_video_id(text: str, pattern: re.Pattern[str]) -> VideoId:
    """Return `text` as a video id, case kept; refuse with `video-not-found` what is none."""
    if SAFE_ID.fullmatch(text) is None or pattern.fullmatch(text) is None:
        raise Refusal(Reason.VIDEO_NOT_FOUND, "not a video id; see platform.video_id_pattern")
    return VideoId(text)


def parse_named_video(text: str, pattern: re.Pattern[str]) -> VideoId:
    """Return a video id that an operator or a back end names, or refuse with what is wrong."""
    try:
        return parse_video_id(text, pattern)
    except Refusal:
        message = f"{text!r} is not a video id; see platform.video_id_pattern."
        raise Refusal(Reason.REQUEST_INVALID, message=message) from None


def to_loggable_id(video: VideoId) -> str:
    """Return the id as it may be logged.

    A private id (`k…`) is a secret: who holds it can see the video. A short hash tells two apart.
    """
    if not video.startswith("k"):
        return video
    return f"k-{sha256(video.encode()).hexdigest()[:8]}"
