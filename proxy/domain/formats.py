"""Stream formats and MP4 qualities: the API's field names, and how a play selects a stream."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from proxy.domain.client_ip import Address
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.video import VideoId

Format = Literal["hls", "mp4"]
Quality = Literal["sd", "hq", "hd", "hd1080", "qhd", "uhd"]

FORMAT_NAMES: tuple[Format, ...] = get_args(Format)
QUALITIES: tuple[Quality, ...] = get_args(Quality)  # in ascending order
DEFAULT_QUALITY: Quality = "hd"
HLS_FIELDS = ("stream_hls_url", "stream_live_hls_url")  # in order of preference


@dataclass(frozen=True, slots=True, kw_only=True)
class Mp4File:
    """An MP4 quality: the API's field with its URL, and its maximum picture height in pixels."""

    field: str
    height: int


# Heights are from Dailymotion's guide, which calls the lowest quality 380p but lists 512 by 384.
MP4_FILES: dict[Quality, Mp4File] = {
    "sd": Mp4File(field="stream_h264_url", height=384),
    "hq": Mp4File(field="stream_h264_hq_url", height=480),
    "hd": Mp4File(field="stream_h264_hd_url", height=720),
    "hd1080": Mp4File(field="stream_h264_hd1080_url", height=1080),
    "qhd": Mp4File(field="stream_h264_qhd_url", height=1440),
    "uhd": Mp4File(field="stream_h264_uhd_url", height=2160),
}
MP4_FIELDS = tuple(mp4.field for mp4 in MP4_FILES.values())

# The format of every API field that contains a stream URL.
FORMATS: dict[str, Format] = {
    "stream_hls_url": "hls",
    "stream_live_hls_url": "hls",
    **dict.fromkeys(MP4_FIELDS, "mp4"),
}
ANY_FIELDS = tuple(FORMATS)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRequest:
    """A request for stream URLs.

    Attributes:
        video: the ID of the video.
        viewer: the viewer who plays the stream; only requests of the same viewer share an API
            call. None for a check.
        client_ip: the address to lock the URLs to; None locks them to the address that sends the
            API call.
        fields: the API fields to fetch.
        is_for_edge: whether the edge fetches the stream itself, so that the URLs are locked to the
            edge's address.
    """

    video: VideoId
    viewer: Address | None = None
    client_ip: Address | None = None
    fields: tuple[str, ...] = HLS_FIELDS
    is_for_edge: bool = False


def find_hls(urls: Mapping[str, str]) -> str:
    """Return the preferred HLS URL; `urls` must contain one of `HLS_FIELDS`."""
    return next(urls[field] for field in HLS_FIELDS if field in urls)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mp4Choice:
    """The MP4 that a play requests.

    Attributes:
        quality: the highest acceptable quality.
        is_exact: whether only this quality is acceptable.
        is_download: whether the browser downloads the file instead of playing it.
    """

    quality: Quality = DEFAULT_QUALITY
    is_exact: bool = False
    is_download: bool = False


def read_mp4_choice(query: Sequence[tuple[str, str]]) -> Mp4Choice:
    """Read the requested MP4 from the query of a play.

    Raises:
        Refusal: `request-invalid`.
    """
    parameters = _read_parameters(query, {"quality", "exact", "download"})
    requested = parameters.get("quality", DEFAULT_QUALITY)
    quality = next((name for name in QUALITIES if name == requested), None)
    if quality is None:
        raise _build_invalid_refusal(f"quality must be one of {', '.join(QUALITIES)}.")
    return Mp4Choice(
        quality=quality,
        is_exact=_parse_flag(parameters, "exact"),
        is_download=_parse_flag(parameters, "download"),
    )


def choose_mp4(urls: Mapping[str, str], choice: Mp4Choice, *, max_height: int | None) -> str:
    """Return the URL of the best MP4 at or below the requested quality.

    An MP4 higher than `max_height` pixels is never returned, whatever quality is requested.

    Raises:
        Refusal: `format-unavailable`; the message lists the available qualities.
    """
    available = [
        quality
        for quality, mp4 in MP4_FILES.items()
        if mp4.field in urls and (max_height is None or mp4.height <= max_height)
    ]
    highest = QUALITIES.index(choice.quality)
    acceptable = [quality for quality in available if QUALITIES.index(quality) <= highest]
    if not acceptable or (choice.is_exact and acceptable[-1] != choice.quality):
        raise _build_unavailable_refusal(choice, available, is_limited=max_height is not None)
    return urls[MP4_FILES[acceptable[-1]].field]


def to_download_url(url: str) -> str:
    """Add the parameter that makes an MP4 URL a download; the rest of the URL stays unchanged."""
    return f"{url}{'&' if '?' in url else '?'}download=1"


def read_fields(query: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Read the API fields that the query parameter `formats` lists.

    Raises:
        Refusal: `request-invalid`.
    """
    parameters = _read_parameters(query, {"formats"})
    names = tuple(dict.fromkeys(parameters.get("formats", "").split(",")))
    if not FORMATS.keys() >= set(names):
        raise _build_invalid_refusal(
            f"formats must be a comma-separated list of {', '.join(FORMATS)}."
        )
    return names


def _read_parameters(query: Sequence[tuple[str, str]], names: Collection[str]) -> dict[str, str]:
    """Return the named parameters of a query; refuses a query that repeats one of the names."""
    parameters: dict[str, str] = {}
    for name, value in query:
        if name in parameters:
            raise _build_invalid_refusal(f"{name} must not be repeated.")
        if name in names:
            parameters[name] = value
    return parameters


def _parse_flag(parameters: Mapping[str, str], name: str) -> bool:
    value = parameters.get(name, "0")
    if value not in {"0", "1"}:
        raise _build_invalid_refusal(f"{name} must be 1 or 0 (the default).")
    return value == "1"


def _build_unavailable_refusal(
    choice: Mp4Choice, available: Sequence[Quality], *, is_limited: bool
) -> Refusal:
    requested = choice.quality if choice.is_exact else f"at or below {choice.quality}"
    within = " within the limits of this token or service" if is_limited else ""
    if available:
        hint = f"Available{within}: {', '.join(available)}."
    else:
        hint = f"No MP4 is available{within}. Try HLS (.m3u8)."
    return Refusal(
        Reason.FORMAT_UNAVAILABLE,
        f"no MP4 {requested}; available: {' '.join(available) or 'none'}",
        message=f"This video has no MP4 {requested}. {hint}",
    )


def _build_invalid_refusal(message: str) -> Refusal:
    return Refusal(Reason.REQUEST_INVALID, message=f"The query is invalid: {message}")
