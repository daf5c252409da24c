"""Builds stream URLs shaped like Dailymotion's, each locked to one address."""

import secrets
from urllib.parse import urlencode

from proxy.sandbox.catalogue import CHANNELS, Quality, Video
from proxy.sandbox.locks import ANY_ADDRESS
from proxy.sandbox.state import Sandbox

# By field of the API: the quality, and the picture size in the URL of the MP4 file.
H264: dict[str, tuple[Quality, str]] = {
    "stream_h264_url": ("sd", "512x384"),
    "stream_h264_hq_url": ("hq", "720x480"),
    "stream_h264_hd_url": ("hd", "1280x720"),
    "stream_h264_hd1080_url": ("hd1080", "1920x1080"),
    "stream_h264_qhd_url": ("qhd", "2560x1440"),
    "stream_h264_uhd_url": ("uhd", "3840x2160"),
}


def build_stream_url(
    sandbox: Sandbox,
    video_id: str,
    video: Video,
    field: str,
    *,
    client_ip: str,
    flags: frozenset[str],
) -> str | None:
    """Return the stream URL for a field of the API, or None if the video has no such stream.

    `flags` are the API's request flags: `no_ip_lock` allows every address, `no_expire` makes a
    URL that never expires.
    """
    is_live = video.fields.get("mode") == "live"
    if video.behaviour == "error":
        return None
    if field in H264:
        quality, size = H264[field]
        path = f"H264-{size}/video/{video_id}.mp4" if quality in video.qualities else ""
    elif field == ("stream_live_hls_url" if is_live else "stream_hls_url"):
        if video.stream_url is not None:
            return video.stream_url
        folder = "live" if video_id in CHANNELS else "manifest"
        path = f"{folder}/video/{video_id}.m3u8"
    else:
        path = ""
    if not path:
        return None
    address = ANY_ADDRESS if "no_ip_lock" in flags else client_ip
    query = urlencode(
        {
            "sec": sandbox.locks.seal(
                video_id, address, now=sandbox.now(), expires="no_expire" not in flags
            ),
            "dmTs": secrets.randbelow(900_000) + 100_000,
            "dmV1st": secrets.token_hex(16),
        }
    )
    return f"{sandbox.origin}/cdn/{path}?{query}"
