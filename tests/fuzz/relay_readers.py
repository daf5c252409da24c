"""Let players' parsers read generated relayed playlists: none may find a URL past the relay.

PYTHONPATH=tests python -m fuzz.relay_readers --count 20000 --ffmpeg 500
"""

import argparse
import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from random import Random
from urllib.parse import unquote, urlsplit

import m3u8
from ada_url import join_url
from aiohttp import web
from hls.relayed import catch_reason, open_url, rewrite
from support import ROOT, serve_app

from fuzz.relay_leaks import BASE, HOST, PLACE, generate
from fuzz.targets import HOSTS
from proxy.domain.reasons import Refusal

READER = ROOT / "tests" / "fuzz" / "read_playlists.mjs"
MODULES = ROOT / "npm" / "node_modules"
OWN_URL = f"https://edge.example/relay/{PLACE.seal}/playlist.m3u8"
LOCAL_URL = re.compile(r"(?:data|skd|urn):", re.IGNORECASE)  # of keys; no player fetches them
BATCH = 500

# Lines that players read differently: in one of them, hls.js or ffmpeg went to another host.
CONFUSING = (
    '#EXT-X-STREAM-INF:BANDWIDTH=1,NAME="#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="b",URI={url}"\nv.m3u8',
    'v.m3u8#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="b",URI="{url}"',
    "#EXT-X-KEY:METHOD=AES-128,X=a URI={url}",
    '#EXT-X-KEY:METHOD=AES-128,KEYFORMAT="identity,URI={url}",URI="k"',
    '#EXT-X-MAP:URI="a.mp4",X="b\\",URI="{url}"',
    "#EXT-X-MAP:URI='{url}'",
    '#EXTINF:4,title #EXT-X-MAP:URI="{url}"\n1.ts',
    "#EXTINF:4,\n1.ts #EXTINF:4,{url}",
    "#EXTINF:4\n{url}\n2.ts",
    "#EXTINF:4,a\x0b{url}\n2.ts",
    "#EXTINF:4,a\u2028{url}\n2.ts",
    '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="b",URI=1.m3u8,URI="{url}"',
    '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="b", URI="{url}"',
    '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="b",uri="{url}",Uri={url}',
    '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="b"URI="{url}"',
    '#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,CODECS="a,URI="{url}"",URI="i.m3u8"',
    '#EXT-X-SESSION-KEY:METHOD=AES-128,URI="k"\t,URI="{url}"',
    '#EXT-X-DATERANGE:ID="a",CLASS="com.apple.hls.interstitial",START-DATE="2026-01-01T00:00:00Z",X-ASSET-URI="a.m3u8",X-ASSET-URI="{url}"',
    '#EXT-X-PART:DURATION=1,URI="p.ts",INDEPENDENT=YES URI="{url}"',
    "##EXTINF:4,\n{url}#EXTINF:4,",
    "#EXT-X-BYTERANGE:1@0\r{url}",
    '#EXT-X-DEFINE:NAME="v",VALUE="\n{url}"\n#EXTINF:4,{$v}',
    '#EXT-X-DEFINE:NAME="v",VALUE="a\\",URI="{url}"\n#EXT-X-MAP:URI="{$v}"',
)
FOREIGN = (
    "https://evil.example/x",
    f"https://{HOST}/direct/x.ts",
    "//evil.example/x",
    "evil://x/y",
)


def generate_confusing(seed: int) -> str:
    """Return a generated playlist with lines that players read differently."""
    random = Random(seed)
    lines = generate(seed).split("\n")
    for _ in range(random.randint(1, 3)):
        line = random.choice(CONFUSING).replace("{url}", random.choice(FOREIGN))
        lines.insert(random.randint(1, len(lines)), line)
    return "\n".join(lines)


def generate_relayed(seeds: range) -> Iterator[tuple[int, str]]:
    """Yield relayed playlists with their seeds; refused playlists are left out."""
    for seed in seeds:
        try:
            yield seed, rewrite(generate_confusing(seed), base=BASE, hosts=HOSTS, place=PLACE)
        except Refusal:
            continue


def find_stranger(url: str) -> bool:
    """Return whether a URL leads past the relay."""
    if LOCAL_URL.match(url):
        return False
    parts = urlsplit(url)
    is_own = (parts.scheme, parts.netloc) == ("https", "edge.example")
    # A gap's URI, which no player fetches, is the only one without a seal.
    if is_own and parts.path.endswith("/unavailable"):
        return False
    return not is_own or catch_reason(lambda: open_url(parts.path)) != "opened"


def read_in_node(texts: list[str]) -> list[dict[str, list[str]]]:
    """Return the URLs that the parsers of JavaScript players find in each playlist."""
    playlists = [{"text": text, "url": OWN_URL} for text in texts]
    command = ["node", str(READER), str(MODULES)]
    output = subprocess.run(
        command, input=json.dumps(playlists), capture_output=True, text=True, check=True
    ).stdout
    found: list[dict[str, list[str]]] = json.loads(output)
    return found


def read_with_m3u8(text: str) -> list[str]:
    """Return the URLs that the Python parser m3u8 finds; none if it fails on a missing attribute."""
    try:
        playlist = m3u8.loads(text)
    except (KeyError, ValueError, TypeError):
        return []
    found = [
        *playlist.playlists, *playlist.iframe_playlists, *playlist.media, *playlist.segments,
        *playlist.keys, *playlist.session_keys, *playlist.segment_map, *playlist.rendition_reports,
        *(part for segment in playlist.segments for part in segment.parts), playlist.preload_hint,
    ]  # fmt: skip
    return resolve(item.uri for item in found if item is not None and item.uri)


def resolve(references: Iterable[str]) -> list[str]:
    """Return the URLs of references, without those that no player can resolve."""
    urls = []
    for reference in references:
        with suppress(ValueError):
            urls.append(join_url(OWN_URL, reference))
    return urls


async def read_with_ffmpeg(text: str) -> list[str]:
    """Return the URLs that ffmpeg requests for a playlist; it gets nothing but this playlist."""
    paths: list[str] = []

    async def serve(request: web.Request) -> web.Response:
        paths.append(request.rel_url.raw_path)
        if len(paths) > 1:
            return web.Response(status=404)
        return web.Response(text=text, content_type="application/vnd.apple.mpegurl")

    app = web.Application()
    app.router.add_get("/{path:.*}", serve)
    async with serve_app(app) as origin:
        process = await asyncio.create_subprocess_exec(
            "ffprobe", "-v", "verbose", "-rw_timeout", "2000000", origin + urlsplit(OWN_URL).path,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(20):
                _, log = await process.communicate()
        except TimeoutError:
            process.kill()
            _, log = await process.communicate()
    # Foreign hosts are not served, so the log is searched for them.
    foreign = re.findall(r"(?:Opening|tcp|Starting connection attempt to) '?([a-z]+://[^' ]+)", log.decode(errors="replace"))  # fmt: skip
    opened = [url.replace(origin, "https://edge.example") for url in foreign]
    return resolve([*map(unquote, paths[1:]), *opened])


def find_strangers(count: int, first: int = 0) -> Iterator[str]:
    """Yield a description of every URL past the relay that a parser finds."""
    for start in range(first, first + count, BATCH):
        relayed = list(generate_relayed(range(start, min(start + BATCH, first + count))))
        read = read_in_node([text for _, text in relayed])
        for (seed, text), found in zip(relayed, read, strict=True):
            for name, urls in {**found, "m3u8": read_with_m3u8(text)}.items():
                if not name.endswith(" failed"):
                    yield from (f"{seed} {name}: {url}" for url in urls if find_stranger(url))


async def find_strangers_of_ffmpeg(count: int) -> list[str]:
    """Return a description of every URL past the relay that ffmpeg requests."""
    found = []
    for seed, text in generate_relayed(range(count)):
        urls = await read_with_ffmpeg(text)
        found += [f"{seed} ffmpeg: {url}" for url in urls if find_stranger(url)]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="fuzz.relay_readers", description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="playlists for the parsers")
    parser.add_argument("--ffmpeg", type=int, default=0, help="playlists for ffmpeg")
    options = parser.parse_args()
    found = [
        *find_strangers(options.count),
        *asyncio.run(find_strangers_of_ffmpeg(options.ffmpeg)),
    ]
    sys.stdout.write("\n".join(found) + "\n" if found else "no URL past the relay\n")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
