"""The requests of the load: as nginx in front would send them, each from a viewer of its own."""

import re
from base64 import urlsafe_b64encode
from hashlib import md5
from pathlib import Path
from time import time
from urllib.request import Request, urlopen
from uuid import uuid4

from support import SANDBOX_TOML

from bench.load import Requests, write_requests
from bench.upstream import MANY, SIZES, Upstream, video_of
from proxy.adapters.clock import Clock
from proxy.edge.token_minter import TokenMinter
from proxy.settings import load_settings

PLAYS = 30_000  # three times as many tokens as an edge remembers
SESSIONS = 200
REPEATERS = 1000  # viewers who ask for one segment after the other
VIDEO = "x8abcd"
LIFE = 3600  # seconds
THROUGH_NGINX = "127.0.0.1"  # as which nginx sees the load
SECRET = "of-this-bench"


def all_requests(folder: Path, upstream: Upstream, edge: int) -> dict[str, Requests]:
    """Write all requests; of relayed sessions, an edge at that port tells the paths."""
    mint = minting().mint
    tokens = [mint(video=VIDEO, ttl=LIFE).token for _ in range(PLAYS)]
    heads: dict[str, list[str]] = {
        "plays": [play(n, token) for n, token in enumerate(tokens)],
        "plays with one token": [play(n, tokens[0]) for n in range(PLAYS)],
        "signed links": [get(n, signed_link()) for n in range(REPEATERS)],
        "questions": [question(n, token) for n, token in enumerate(tokens)],
        "questions, repeated": [question(n, tokens[n]) for n in range(REPEATERS)],
    }
    for count in SIZES:
        heads[f"relayed playlists of {count}"] = [
            get(n, relayed(edge, video_of(count), viewer(n))[0]) for n in range(SESSIONS)
        ]
        url = f"https://{upstream.host}/media/{video_of(count)}/index.m3u8"
        heads[f"passed playlists of {count}"] = [get(n, f"/?url={url}") for n in range(SESSIONS)]
    (playlist,) = relayed(edge, video_of(MANY), THROUGH_NGINX)
    segments = relay_paths(fetch(edge, playlist, THROUGH_NGINX))
    heads["relayed segments"] = [get(0, path) for path in segments]
    heads["relayed segments again"] = [get(0, path) for path in segments[:10]]
    heads["segments"] = [get(0, f"/media/{video_of(MANY)}/{n}.ts") for n in range(MANY)]
    return {
        name: write_requests(folder / f"{n}.requests", some)
        for n, (name, some) in enumerate(heads.items())
    }


def minting():
    return TokenMinter(load_settings(SANDBOX_TOML), Clock())


def viewer(n: int) -> str:
    return f"8.{n // 62_500 + 1}.{n // 250 % 250}.{n % 250 + 1}"


def get(n: int, path: str, *lines: str) -> str:
    head = [f"GET {path} HTTP/1.1", "Host: play.example.com", f"X-Forwarded-For: {viewer(n)}"]
    return "\r\n".join([*head, f"X-Request-Id: {uuid4().hex}", *lines])


def play(n: int, token: str) -> str:
    return get(n, f"/play/{VIDEO}.m3u8?token={token}")


def question(n: int, token: str) -> str:
    return get(
        n,
        "/auth",
        f"X-Original-URI: /play/{VIDEO}.m3u8?token={token}",
        f"X-Original-Path: /play/{VIDEO}.m3u8",
        "X-Original-Method: GET",
    )


def signed_link() -> str:
    """Return a link as nginx's secure_link documents it."""
    uri, expires = f"/play/{VIDEO}.m3u8", int(time()) + LIFE
    digest = md5(f"{expires}{uri} {SECRET}".encode()).digest()  # nginx knows no other
    return f"{uri}?md5={urlsafe_b64encode(digest).rstrip(b'=').decode()}&expires={expires}"


def relayed(edge: int, video: str, seen: str) -> list[str]:
    """Begin a viewer's relayed session; return the paths of its media playlists."""
    token = minting().mint(video=video, ttl=LIFE).token
    return relay_paths(fetch(edge, f"/play/{video}.m3u8?token={token}", seen))


def fetch(edge: int, path: str, seen: str) -> str:
    request = Request(f"http://127.0.0.1:{edge}{path}", headers={"X-Forwarded-For": seen})
    with urlopen(request) as answer:
        return answer.read().decode()


def relay_paths(playlist: str) -> list[str]:
    return re.findall(r"^/relay/\S+", playlist, re.MULTILINE)
