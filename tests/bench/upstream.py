"""A stand-in for Dailymotion and its CDN: nginx on https, whose responses cost almost no CPU."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from certificates import certify
from ports import free_port

from bench.servers import run_nginx

PLAYLIST_SIZES = (10, 100, 1800)  # segments
# With "fresh", every response has another EXT-X-DISCONTINUITY-SEQUENCE, as if each playlist came for
# the first time. With "moving", the body changes every second, like the window of a live stream.
PlaylistName = Literal["vod", "live", "freshvod", "freshlive", "movinglive"]
PLAYLIST_NAMES: tuple[PlaylistName, ...] = get_args(PlaylistName)
MAX_SEGMENTS = 20_000  # enough that no segment is requested twice
SEGMENT_BYTES = 1_000_000

SERVER = """
        ssl_certificate {chain};
        ssl_certificate_key {chain};
        root {media};
        location = /oauth/v1/token {{
            default_type application/json;
            return 200 '{token}';
        }}
        location ~ ^/rest/video/(?<id>[A-Za-z0-9]+)$ {{
            default_type application/json;
            return 200 '{video}';
        }}
        location ~ ^/media/[A-Za-z0-9]+/[0-9]+\\.ts$ {{
            try_files /segment.ts =404;
        }}
        sub_filter_types application/vnd.apple.mpegurl;
        location ~ ^/media/[A-Za-z0-9]+/fresh[a-z]+\\.m3u8$ {{
            rewrite ^(.*)/fresh([a-z]+\\.m3u8)$ $1/$2 break;
            sub_filter "#EXT-X-VERSION:3" "#EXT-X-VERSION:3\\n#EXT-X-DISCONTINUITY-SEQUENCE:${{connection}}000$connection_requests";
        }}
        location ~ ^/media/[A-Za-z0-9]+/moving[a-z]+\\.m3u8$ {{
            rewrite ^(.*)/moving([a-z]+\\.m3u8)$ $1/$2 break;
            sub_filter "#EXT-X-VERSION:3" "#EXT-X-VERSION:3\\n# $time_local";
        }}
"""
TOKEN = {"access_token": "t" * 64, "token_type": "Bearer", "expires_in": 36000, "scope": "s"}


@dataclass(frozen=True, slots=True)
class Upstream:
    """The stand-in's port, and the certificate of its CA."""

    port: int
    authority: Path

    @property
    def host(self) -> str:
        return f"localhost:{self.port}"

    @property
    def token_url(self) -> str:
        return f"https://{self.host}/oauth/v1/token"

    @property
    def rest_url(self) -> str:
        return f"https://{self.host}/rest"

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that point an edge and the baselines at the stand-in."""
        return {
            "SSL_CERT_FILE": str(self.authority),
            "BENCH_TOKEN_URL": self.token_url,
            "BENCH_REST_URL": self.rest_url,
            "PLAYGATE_PLATFORM__TOKEN_URL": self.token_url,
            "PLAYGATE_PLATFORM__REST_URL": self.rest_url,
            "PLAYGATE_PLATFORM__ALLOWED_HOSTS": json.dumps([self.host]),
        }


@contextmanager
def run_upstream(program: str, folder: Path, core: int) -> Iterator[Upstream]:
    """Run the stand-in on one core."""
    authority, chain = certify(folder, "localhost")
    upstream = Upstream(free_port(), authority)
    write_media(folder / "cdn")
    server = SERVER.format(
        chain=chain,
        media=folder / "cdn",
        token=json.dumps(TOKEN),
        video=json.dumps(build_video(upstream.host)),
    )
    nginx_folder = folder / "upstream"
    with run_nginx(program, nginx_folder, core, upstream.port, server, tls=True, log="off"):
        yield upstream


def build_video(host: str) -> dict[str, object]:
    """Return the API's JSON for a video; nginx fills in the ID and the viewer's address."""
    return {
        "stream_hls_url": f"https://{host}/manifest/$id.m3u8?sec=$arg_client_ip-{'s' * 128}",
        "stream_live_hls_url": None,
        "mode": "vod",
        "onair": False,
        "status": "published",
        "private": False,
        "password_protected": False,
    }


def name_video(segments: int, playlist: PlaylistName = "vod") -> str:
    """Return the ID of the video with this media playlist, and this many segments."""
    return f"x8{playlist}{segments}"


def write_media(folder: Path) -> None:
    """Write the playlists of every size, and the file that is served as every segment."""
    (folder / "manifest").mkdir(parents=True)
    (folder / "segment.ts").write_bytes(b"\x47" + bytes(187) * (SEGMENT_BYTES // 187))
    for count in (*PLAYLIST_SIZES, MAX_SEGMENTS):
        (folder / "media" / f"x{count}").mkdir(parents=True)
        segments = "".join(f"#EXTINF:4.000,\n{n}.ts\n" for n in range(1000, 1000 + count))
        head = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:4\n"
        (folder / "media" / f"x{count}" / "vod.m3u8").write_text(
            f"{head}#EXT-X-PLAYLIST-TYPE:VOD\n{segments}#EXT-X-ENDLIST\n"
        )
        (folder / "media" / f"x{count}" / "live.m3u8").write_text(
            f"{head}#EXT-X-MEDIA-SEQUENCE:1000\n{segments}"
        )
        for name in PLAYLIST_NAMES:
            (folder / "manifest" / f"{name_video(count, name)}.m3u8").write_text(
                "#EXTM3U\n#EXT-X-VERSION:3\n"
                '#EXT-X-STREAM-INF:BANDWIDTH=2000000,RESOLUTION=1280x720,CODECS="avc1.64001f,mp4a.40.2"\n'
                f"{build_playlist_path(count, name)}\n"
            )


def build_playlist_path(segments: int, playlist: PlaylistName) -> str:
    """Return the path of a media playlist on the stand-in."""
    return f"/media/x{segments}/{playlist}.m3u8"
