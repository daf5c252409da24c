"""Stream formats and qualities: the API's field names, and which one to choose."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from proxy.domain.client_ip import Address
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.video import VideoId

Format = Literal["hls", "mp4"]
Quality = Literal["sd", "hq", "hd", "hd1080", "qhd", "uhd"]

FORMAT_NAMES: tuple[Format, ...] = get_args(Format)
QUALITIES: tuple[Quality, ...] = get_args(Quality)  # the smallest first
DEFAULT_QUALITY: Quality = "hd"
HLS_FIELDS = ("stream_hls_url", "stream_live_hls_url")  # the first that a video has is played


@dataclass(frozen=True, slots=True, kw_only=True)
class Mp4File:
    """An MP4 file of a video: the API's field, and how high its picture is at most, in pixels."""

    field: str
    height: int


# Heights are those of Dailymotion's guide; it calls the first one 380p and has it 512 by 384.
MP4_FILES: dict[Quality, Mp4File] = {
    "sd": Mp4File(field="stream_h264_url", height=384),
    "hq": Mp4File(field="stream_h264_hq_url", height=480),
    "hd": Mp4File(field="stream_h264_hd_url", height=720),
    "hd1080": Mp4File(field="stream_h264_hd1080_url", height=1080),
    "qhd": Mp4File(field="stream_h264_qhd_url", height=1440),
    "uhd": Mp4File(field="stream_h264_uhd_url", height=2160),
}
MP4_FIELDS = tuple(it.field for it in MP4_FILES.values())

# Every field that a stream URL comes in.
FORMATS: dict[str, Format] = {
    "stream_hls_url": "hls",
    "stream_live_hls_url": "hls",
    **dict.fromkeys(MP4_FIELDS, "mp4"),
}
ANY_FIELDS = tuple(FORMATS)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRequest:
    """Stream URLs to request.

    Attributes:
        video: of which video.
        viewer: for whose playback; only this viewer's own requests share a call. None for a check.
        client_ip: the address to lock them to; None locks them to the address that asks.
        fields: in which of the API's fields.
        is_own: whether the edge fetches the stream itself, so that they are locked to its address.
    """

    video: VideoId
    viewer: Address | None = None
    client_ip: Address | None = None
    fields: tuple[str, ...] = HLS_FIELDS
    is_for_edge: bool = False


def find_hls(urls: Mapping[str, str]) -> str:
    """Return the HLS stream URL of those that a video has, one of which is."""
    return next(urls[field] for field in HLS_FIELDS if field in urls)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mp4Choice:
    """Which MP4 somebody wants."""

    quality: Quality = DEFAULT_QUALITY
    is_exact: bool = False
    is_download: bool = False


def read_choice(query: Sequence[tuple[str, str]]) -> Mp4Choice:
    """Return what the query of a play asks for, or refuse with `request-invalid`."""
    given = _reject_duplicates(query, {"quality", "exact", "download"})
    quality = next((it for it in QUALITIES if it == given.get("quality", DEFAULT_QUALITY)), None)
    if quality is None:
        raise _build_invalid_refusal(f"quality is one of {', '.join(QUALITIES)}.")
    return Mp4Choice(
        quality=quality,
        is_exact=_parse_flag(given, "exact"),
        is_download=_parse_flag(given, "download"),
    )


def choose_mp4(urls: Mapping[str, str], choice: Mp4Choice, *, max_height: int | None) -> str:
    """Return the best URL at or under the quality asked for, or refuse with what there is.

    Nothing is higher than `max_height` pixels, however it is asked for.
    """
    there = [
        quality
        for quality, it in MP4_FILES.items()
        if it.field in urls and (max_height is None or it.height <= max_height)
    ]
    wanted = QUALITIES.index(choice.quality)
    fitting = [quality for quality in there if QUALITIES.index(quality) <= wanted]
    if not fitting or (choice.is_exact and fitting[-1] != choice.quality):
        raise _build_unavailable_refusal(choice, there, is_limited=max_height is not None)
    return urls[MP4_FILES[fitting[-1]].field]


def to_download_url(url: str) -> str:
    """Return an MP4's URL in the form that downloads it; nothing of it is written anew."""
    return f"{url}{'&' if '?' in url else '?'}download=1"


def read_fields(query: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Return the stream fields that `formats` names, or refuse with `request-invalid`."""
    given = _reject_duplicates(query, {"formats"})
    names = tuple(dict.fromkeys(given.get("formats", "").split(",")))
    if not FORMATS.keys() >= set(names):
        raise _build_invalid_refusal(f"formats is a list, with commas, of {', '.join(FORMATS)}.")
    return names


def _reject_duplicates(query: Sequence[tuple[str, str]], names: Collection[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in query:
        if name in given:
            raise _build_invalid_refusal(f"{name} is given more than once.")
        if name in names:
            given[name] = value
    return given


def _parse_flag(given: Mapping[str, str], name: str) -> bool:
    value = given.get(name, "0")
    if value not in {"0", "1"}:
        raise _build_invalid_refusal(f"{name} is 1, or 0, which is the default.")
    return value == "1"


def _build_unavailable_refusal(
    choice: Mp4Choice, there: Sequence[Quality], *, is_limited: bool
) -> Refusal:
    wanted = choice.quality if choice.is_exact else f"at or under {choice.quality}"
    within = " within the limits of this token or service" if is_limited else ""
    has = f"There is {', '.join(there)}{within}." if there else f"There is none{within}."
    hls = " As HLS (.m3u8) it may play." if not there else ""
    return Refusal(
        Reason.FORMAT_UNAVAILABLE,
        f"no MP4 {wanted}; there is {' '.join(there) or 'none'}",
        message=f"This video has no MP4 {wanted}. {has}{hls}",
    )


def _build_invalid_refusal(message: str) -> Refusal:
    return Refusal(Reason.REQUEST_INVALID, message=f"The query cannot be used: {message}")
