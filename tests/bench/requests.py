"""Build the HTTP requests of each load as nginx would forward them.

Each play comes from another viewer; all segments are requested by one viewer.
"""

import re
from base64 import urlsafe_b64encode
from hashlib import md5
from pathlib import Path
from time import time
from urllib.parse import urljoin
from urllib.request import Request, urlopen
from uuid import uuid4

from support import build_sandbox_minter

from bench.load import Requests, write_requests
from bench.upstream import (
    MAX_SEGMENTS,
    PLAYLIST_NAMES,
    PLAYLIST_SIZES,
    Upstream,
    build_playlist_path,
    name_video,
)

PLAYS = 30_000  # three times as many tokens as an edge caches
SESSIONS = 200  # each in a network of its own, because an edge limits networks
NETWORK = 250  # viewers with addresses in one network
REPEATING_VIEWERS = 1000  # viewers who request one segment after the other
VIDEO = "x8abcd"
LIFETIME_SECONDS = 3600
LOAD_ADDRESS = "127.0.0.1"  # the viewer's address that nginx sees
SECRET = "of-this-bench"


def write_all_requests(folder: Path, upstream: Upstream, edge: int) -> dict[str, Requests]:
    """Write the request files; start the relayed sessions at the edge on port `edge`."""
    mint = build_sandbox_minter().mint
    tokens = [mint(video=VIDEO, ttl=LIFETIME_SECONDS).token for _ in range(PLAYS)]
    texts: dict[str, list[str]] = {
        "plays": [build_play(n, token) for n, token in enumerate(tokens)],
        "plays with one token": [build_play(n, tokens[0]) for n in range(PLAYS)],
        "signed links": [build_get(n, build_signed_link()) for n in range(REPEATING_VIEWERS)],
        "auth requests": [build_auth_request(n, token) for n, token in enumerate(tokens)],
        "auth requests, repeated": [
            build_auth_request(n, tokens[n]) for n in range(REPEATING_VIEWERS)
        ],
    }
    for count in PLAYLIST_SIZES:
        for name in PLAYLIST_NAMES:
            video = name_video(count, name)
            texts[f"relayed {name} of {count}"] = [
                build_get(n, start_relayed_session(edge, video, build_viewer_address(n))[0])
                for n in range(0, SESSIONS * NETWORK, NETWORK)
            ]
            url = f"https://{upstream.host}{build_playlist_path(count, name)}"
            encoded = urlsafe_b64encode(url.encode()).decode()
            texts[f"passed {name} of {count}"] = [
                build_get(n, f"/?url={url}") for n in range(SESSIONS)
            ]
            texts[f"encoded {name} of {count}"] = [
                build_get(n, f"/{encoded}.m3u8") for n in range(SESSIONS)
            ]
    (playlist,) = start_relayed_session(edge, name_video(MAX_SEGMENTS), LOAD_ADDRESS)
    segments = find_relay_paths(fetch(edge, playlist, LOAD_ADDRESS), playlist)
    texts["relayed segments"] = [build_get(0, path) for path in segments]
    texts["relayed segments again"] = [build_get(0, path) for path in segments[:10]]
    texts["segments"] = [
        build_get(0, f"/media/x{MAX_SEGMENTS}/{n}.ts") for n in range(MAX_SEGMENTS)
    ]
    return {
        name: write_requests(folder / f"{n}.requests", requests)
        for n, (name, requests) in enumerate(texts.items())
    }


def build_viewer_address(n: int) -> str:
    return f"8.{n // NETWORK**2 + 1}.{n // NETWORK % NETWORK}.{n % NETWORK + 1}"


def build_get(n: int, path: str, *lines: str) -> str:
    first_lines = [
        f"GET {path} HTTP/1.1",
        "Host: play.example.com",
        f"X-Forwarded-For: {build_viewer_address(n)}",
    ]
    return "\r\n".join([*first_lines, f"X-Request-Id: {uuid4().hex}", *lines])


def build_play(n: int, token: str) -> str:
    return build_get(n, f"/play/{VIDEO}.m3u8?token={token}")


def build_auth_request(n: int, token: str) -> str:
    return build_get(
        n,
        "/auth",
        f"X-Original-URI: /play/{VIDEO}.m3u8?token={token}",
        f"X-Original-Path: /play/{VIDEO}.m3u8",
        "X-Original-Method: GET",
    )


def build_signed_link() -> str:
    """Return a link that is signed as nginx's secure_link expects."""
    uri, expires = f"/play/{VIDEO}.m3u8", int(time()) + LIFETIME_SECONDS
    # secure_link supports no other algorithm than MD5.
    digest = md5(f"{expires}{uri} {SECRET}".encode()).digest()
    return f"{uri}?md5={urlsafe_b64encode(digest).rstrip(b'=').decode()}&expires={expires}"


def start_relayed_session(edge: int, video: str, viewer: str) -> list[str]:
    """Start a viewer's relayed session; return the paths of its media playlists."""
    token = build_sandbox_minter().mint(video=video, ttl=LIFETIME_SECONDS).token
    return find_relay_paths(fetch(edge, f"/play/{video}.m3u8?token={token}", viewer))


def fetch(edge: int, path: str, viewer: str) -> str:
    request = Request(f"http://127.0.0.1:{edge}{path}", headers={"X-Forwarded-For": viewer})
    with urlopen(request) as response:
        return response.read().decode()


def find_relay_paths(playlist: str, path: str = "/") -> list[str]:
    return [urljoin(path, uri) for uri in re.findall(r"^(?!#)\S+", playlist, re.MULTILINE)]
