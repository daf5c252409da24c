"""Builds playlists shaped like Dailymotion's.

Like the real playlists, they have no EXT-X-VERSION, unsorted variants, absolute variant URIs with a
fragment, subtitles after the variants, and segment URIs that begin with `../../../frag(N)/`.
"""

from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7

from proxy.sandbox.catalogue import CHANNELS, EMPTY, FMP4, KEYED, LIVE_BLOCKING

SEGMENT_SECONDS = 2
SEGMENT_COUNT = 6  # segments of a VOD, and of the loop that a live channel repeats
LIVE_WINDOW = 6  # segments in a live playlist


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendition:
    """A folder of media files, and its attributes in the multivariant playlist."""

    folder: str
    bandwidth: int
    resolution: str
    name: str


VOD_RENDITIONS = (  # unsorted, like Dailymotion's
    Rendition(folder="vod_360", bandwidth=380_000, resolution="640x360", name="380"),
    Rendition(folder="vod_180", bandwidth=246_000, resolution="320x180", name="144"),
)
LIVE_RENDITIONS = (
    Rendition(folder="live_180", bandwidth=140_000, resolution="320x180", name="240"),
)
FMP4_RENDITIONS = (
    Rendition(folder="fmp4_180", bandwidth=246_000, resolution="320x180", name="144"),
)
CODECS = "avc1.4d400d,mp4a.40.2"

KEY = bytes(range(16))

SUBTITLES = (
    (0, 4, "This video was made by a machine,"),
    (4, 8, "plays for twelve seconds,"),
    (8, 12, "and is locked to your address."),
)


def build_multivariant(origin: str, video: str, sec: str) -> str:
    """Build the multivariant playlist of a video; every URI carries the same `sec`."""
    base = f"{origin}/sec2({sec})"
    lines = ["#EXTM3U"]
    live = video in CHANNELS
    group = "" if live else ',SUBTITLES="subs"'
    for cell, rendition in enumerate(list_renditions(video), start=4):
        kind = "live" if live else "video"
        lines += [
            _format_stream_inf(rendition) + group,
            f"{base}/{kind}/612/345/{video}_{rendition.folder}.m3u8#cell=cf{cell}",
        ]
    if not live:
        lines.append(
            '#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="subs",NAME="English",DEFAULT=YES,AUTOSELECT=YES,'
            f'LANGUAGE="en",ASSOC-LANGUAGE="en",URI="{origin}/cdn/subtitle/{video}_en.m3u8?sec={sec}"'
        )
    return "\n".join(lines) + "\n"


def list_renditions(video: str) -> tuple[Rendition, ...]:
    """Return the renditions of a video; EMPTY has none."""
    if video in CHANNELS:
        return LIVE_RENDITIONS
    if video == FMP4:
        return FMP4_RENDITIONS
    return () if video == EMPTY else VOD_RENDITIONS


def build_vod_playlist(origin: str, video: str, sec: str, folder: str) -> str:
    """Build the media playlist of one variant of a VOD."""
    lines = ["#EXTM3U", f"#EXT-X-TARGETDURATION:{SEGMENT_SECONDS}", "#EXT-X-PLAYLIST-TYPE:VOD"]
    if video == KEYED:
        lines.append(f'#EXT-X-KEY:METHOD=AES-128,URI="{origin}/cdn/key/{video}.key?sec={sec}"')
    if video == FMP4:
        lines.append(f'#EXT-X-MAP:URI="../../../init/{video}_{folder}.mp4"')
    for number in range(SEGMENT_COUNT):
        lines += [
            f"#EXTINF:{SEGMENT_SECONDS:.3f},",
            _format_segment("video", video, folder, number),
        ]
    return "\n".join([*lines, "#EXT-X-ENDLIST"]) + "\n"


def build_live_playlist(video: str, folder: str, *, on_air: float) -> str:
    """Build the media playlist of a live channel that has been on air for `on_air` seconds.

    The channel repeats a loop. Each repetition starts with a discontinuity, because the timestamps
    of the media start again.
    """
    newest = get_newest_segment(on_air)
    first = newest - LIVE_WINDOW + 1
    lines = [
        "#EXTM3U",
        f"#EXT-X-TARGETDURATION:{SEGMENT_SECONDS}",
        f"#EXT-X-MEDIA-SEQUENCE:{first}",
        # The number of discontinuities that have left the playlist (RFC 8216, 6.2.2).
        f"#EXT-X-DISCONTINUITY-SEQUENCE:{(first - 1) // SEGMENT_COUNT}",
    ]
    if video == LIVE_BLOCKING:
        lines.insert(2, "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES")
    for number in range(first, newest + 1):
        if number % SEGMENT_COUNT == 0:
            lines.append("#EXT-X-DISCONTINUITY")
        lines += [f"#EXTINF:{SEGMENT_SECONDS:.3f},", _format_segment("live", video, folder, number)]
    return "\n".join(lines) + "\n"


def get_newest_segment(on_air: float) -> int:
    """Return the Media Sequence Number of the newest complete segment."""
    return int(on_air // SEGMENT_SECONDS) - 1


def build_subtitle_playlist(video: str, sec: str) -> str:
    """Build the media playlist of the subtitles: a single WebVTT segment."""
    duration = SEGMENT_COUNT * SEGMENT_SECONDS
    return (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:{duration}\n#EXT-X-PLAYLIST-TYPE:VOD\n"
        f"#EXTINF:{duration:.3f},\n{video}_en.vtt?sec={sec}\n#EXT-X-ENDLIST\n"
    )


def build_subtitle_text() -> str:
    """Build the WebVTT subtitles.

    X-TIMESTAMP-MAP is needed because the MPEG-TS timestamps of the media start at 1.4 s.
    """
    cues = [
        f"00:00:{start:02d}.000 --> 00:00:{end:02d}.000\n{text}\n" for start, end, text in SUBTITLES
    ]
    return "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:126000,LOCAL:00:00:00.000\n\n" + "\n".join(cues)


def encrypt_segment(segment: bytes, number: int) -> bytes:
    """Encrypt a segment with AES-128-CBC; its number is the IV (RFC 8216bis, 5.2)."""
    padder = PKCS7(128).padder()
    encryptor = Cipher(AES128(KEY), CBC(number.to_bytes(16, "big"))).encryptor()
    padded = padder.update(segment) + padder.finalize()
    return encryptor.update(padded) + encryptor.finalize()


def _format_stream_inf(rendition: Rendition) -> str:
    return (
        f'#EXT-X-STREAM-INF:BANDWIDTH={rendition.bandwidth},CODECS="{CODECS}",'
        f'RESOLUTION={rendition.resolution},NAME="{rendition.name}"'
    )


def _format_segment(kind: str, video: str, folder: str, number: int) -> str:
    extension = "m4s" if video == FMP4 else "ts"
    return f"../../../frag({number})/{kind}/612/345/{video}_{folder}.{extension}"
