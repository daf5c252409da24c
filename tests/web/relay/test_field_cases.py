"""Streams from public bug reports, which players play directly, play through the relay."""

import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import brotli
import pytest
from aiohttp import web
from relay_stack import find_relay_paths
from support import PLAYLIST_HEADERS, ROOT, run_test_edge, serve_app
from web.relay.relay_edge import RELAY

from proxy.sandbox.controls import Fault
from proxy.sandbox.state import Sandbox

CASES = ROOT.parent / "shared" / "field-cases" / "relay.json"
FOLDER = "/case"
SEGMENT = b"G@\x00\x10" + bytes(184)
MASTER = '#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=246000,CODECS="avc1.42c00c,mp4a.40.2"\nm.m3u8\n'
MEDIA = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXTINF:2.000,\n{uri}\n#EXT-X-ENDLIST\n"
COMPRESS = {"gzip": gzip.compress, "br": brotli.compress}


@dataclass
class CaseCdn:
    """A CDN that serves the files of one case, and records the paths that it is asked for."""

    files: dict[str, Any]
    paths: list[str] = field(default_factory=list)
    missing: int = 0  # playlists that a case names without a file

    async def serve(self, request: web.Request) -> web.Response:
        raw = request.rel_url.raw_path.removeprefix(FOLDER)
        self.paths.append(raw)
        file = self.files.get(unquote(raw).removeprefix("/"))
        if isinstance(file, str):
            return web.Response(body=file.encode(), headers=dict(PLAYLIST_HEADERS))
        if file is None:
            if raw.endswith(".m3u8"):
                self.missing += 1
                return web.Response(status=404)
            return web.Response(body=SEGMENT)
        body = SEGMENT if file.get("media") else file["body"].encode()
        headers = {"Content-Type": file.get("type", dict(PLAYLIST_HEADERS)["Content-Type"])}
        if encoding := file.get("encoding"):
            headers["Content-Encoding"] = encoding
            body = COMPRESS[encoding](body)
        return web.Response(body=body, headers=headers | file.get("headers", {}))


@asynccontextmanager
async def run_case(sandbox: Sandbox, case: dict[str, Any]) -> AsyncIterator[tuple[Any, CaseCdn]]:
    """Run a relaying edge whose videos have the case's playlist; yield the edge and the CDN."""
    cdn = CaseCdn(case["files"])
    app = web.Application()
    app.router.add_get("/{path:.*}", cdn.serve)
    async with serve_app(app) as origin:
        hosts = [origin.removeprefix("http://"), sandbox.origin.removeprefix("http://")]
        location = ("Location", f"{origin}{FOLDER}/{case['start']}?sig=SECRET")
        sandbox.controls.set_fault("playlist", Fault(status=302, headers=(location,)))
        async with run_test_edge(sandbox, platform={"allowed_hosts": hosts}, **RELAY) as edge:
            yield edge, cdn


async def play_through(edge, cdn: CaseCdn, added: str = "") -> list[str]:
    """Fetch everything that a player fetches; return the paths of the CDN that were requested."""
    query = f"?{added}" if added else ""
    first = await edge.get(f"{edge.play_url()}&{added}")
    assert first.status == 200, first.body
    queue = [(first.body, "/play/x8demo1.m3u8")]
    while queue:
        body, path = queue.pop()
        assert b"127.0.0.1" not in body and b"sig=" not in body and FOLDER.encode() not in body
        for child in find_relay_paths(body, path):
            missing = cdn.missing
            response = await edge.get(f"{edge.player}{child}{query}")
            if cdn.missing > missing:
                assert response.reason == "stream-unavailable"
                continue
            assert response.status == 200, (child, response.body)
            if child.endswith("/playlist.m3u8"):
                queue.append((response.body, child))
            elif not child.endswith(".json"):
                assert response.body == SEGMENT
    return cdn.paths


def read_cases() -> list[Any]:
    """Return the reported streams, which come from other projects and are not part of this one.

    A checkout without them can only skip them. `test_other_streams_of_these_kinds_play` and
    `tests/hls/test_canonical.py` have streams of our own of the same kinds, which always run.
    """
    if not CASES.exists():
        reason = "third-party streams that must not be committed are not beside this checkout"
        skip = pytest.mark.skip(reason=reason)
        return [pytest.param({}, marks=skip)]
    return [pytest.param(case, id=case["id"]) for case in json.loads(CASES.read_text())]


@pytest.mark.parametrize("case", read_cases())
async def test_a_stream_from_a_public_bug_report_plays(sandbox, case):
    async with run_case(sandbox, case) as (edge, cdn):
        paths = await play_through(edge, cdn, case["player_adds"])

    assert set(case["cdn_must_be_asked"]) <= set(paths)


@pytest.mark.parametrize(
    ("files", "asked"),
    [
        ({"master.m3u8": {"body": MASTER, "encoding": "br"}}, "/0.ts"),
        ({"m.m3u8": {"body": MEDIA.format(uri="0.ts"), "type": "text/html"}}, "/0.ts"),
        ({"m.m3u8": {"body": MEDIA.format(uri="0.ts"), "type": "", "encoding": "gzip"}}, "/0.ts"),
        ({"m.m3u8": "\r\n \ufeff".strip("\ufeff") + MEDIA.format(uri="0.ts")}, "/0.ts"),
        ({"m.m3u8": MEDIA.format(uri="ünïcode | [1].ts")}, "/%C3%BCn%C3%AFcode%20%7C%20[1].ts"),
        ({"m.m3u8": MEDIA.format(uri="a/../b;v=1/./0.ts?x=y z#t=1")}, "/b;v=1/0.ts"),
        ({"m.m3u8": MEDIA.format(uri="\t0.ts \t")}, "/0.ts"),
        ({"m.m3u8": MEDIA.format(uri="0.ts").replace("#EXTINF", "  #EXTINF")}, "/0.ts"),
        ({"m.m3u8": MEDIA.format(uri="0.ts").replace("\n", "\r")}, "/0.ts"),
        ({"m.m3u8": MEDIA.format(uri="0.ts") + "\x0c\n</html>\n"}, "/0.ts"),
        ({"m.m3u8": "#" + "x" * 9000 + "\n" + MEDIA.format(uri="0.ts")}, None),
        ({"m.m3u8": MEDIA.format(uri="0.ts").replace(",\n", ',{"t":"' + "x" * 9000 + '"}\n')}, "/0.ts"),
        ({"m.m3u8": MEDIA.format(uri='0.ts\n#EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://a",KEYFORMAT="b')}, "/0.ts"),
    ],
)  # fmt: skip
async def test_other_streams_of_these_kinds_play(sandbox, files, asked):
    """If no player could play a stream, it is refused."""
    case = {
        "start": "master.m3u8",
        "files": {"master.m3u8": MASTER, "m.m3u8": MEDIA.format(uri="0.ts"), **files},
    }
    async with run_case(sandbox, case) as (edge, cdn):
        if asked is not None:
            assert asked in await play_through(edge, cdn, "_=1&CMCD=sid%3D%22a%22&_HLS_msn=x")
            return
        (child,) = find_relay_paths((await edge.play()).body)
        assert (await edge.get(edge.player + child)).reason == "platform-bad-response"
