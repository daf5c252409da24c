"""Streams from public bug reports, and a CDN that serves one of them."""

import gzip
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import brotli
import pytest
from aiohttp import web
from support import PLAYLIST_HEADERS, ROOT, run_test_edge, serve_app

from proxy.sandbox.controls import Fault
from proxy.sandbox.state import Sandbox

CASES = ROOT.parent / "shared" / "field-cases" / "relay.json"
FOLDER = "/case"
QUERY = "sig=SECRET"
SEGMENT = b"G@\x00\x10" + bytes(184)  # any bytes, for tests without a player
COMPRESS = {"gzip": gzip.compress, "br": brotli.compress}
CORS = {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "*"}

Segments = Callable[[str], bytes]  # the bytes of a segment by its path


@dataclass
class CaseCdn:
    """A CDN that serves the files of one case, and records the paths that it is asked for."""

    files: dict[str, Any]
    segments: Segments = lambda _path: SEGMENT
    origin: str = ""
    start: str = ""
    paths: list[str] = field(default_factory=list)
    missing: int = 0  # playlists that a case names without a file

    @property
    def url(self) -> str:
        """The URL of the stream."""
        return f"{self.origin}{FOLDER}/{self.start}?{QUERY}"

    async def serve(self, request: web.Request) -> web.Response:
        raw = request.rel_url.raw_path.removeprefix(FOLDER)
        if request.method == "OPTIONS":
            return web.Response(status=204, headers=CORS)
        self.paths.append(raw)
        file = self.files.get(unquote(raw).removeprefix("/"))
        if isinstance(file, str):
            return web.Response(body=file.encode(), headers=CORS | dict(PLAYLIST_HEADERS))
        if file is None:
            if raw.endswith(".m3u8"):
                self.missing += 1
                return web.Response(status=404, headers=CORS)
            return serve_range(request, self.segments(raw))
        body = self.segments(raw) if file.get("media") else file["body"].encode()
        headers = CORS | {"Content-Type": file.get("type", PLAYLIST_HEADERS[0][1])}
        if encoding := file.get("encoding"):
            headers["Content-Encoding"] = encoding
            body = COMPRESS[encoding](body)
        return web.Response(body=body, headers=headers | file.get("headers", {}))


def serve_range(request: web.Request, body: bytes) -> web.Response:
    """Build the response with a segment, or with the range of it that the request asks for."""
    found = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
    if found is None:
        return web.Response(body=body, headers=CORS)
    part = body[int(found[1]) : int(found[2] or len(body)) + 1]
    content_range = f"bytes {found[1]}-{int(found[1]) + len(part) - 1}/{len(body)}"
    return web.Response(status=206, body=part, headers=CORS | {"Content-Range": content_range})


@asynccontextmanager
async def serve_case(
    case: dict[str, Any], segments: Segments = CaseCdn.segments
) -> AsyncIterator[CaseCdn]:
    """Serve the files of a case."""
    cdn = CaseCdn(case["files"], segments, start=case["start"])
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", cdn.serve)
    async with serve_app(app) as cdn.origin:
        yield cdn


@asynccontextmanager
async def run_case(
    sandbox: Sandbox, case: dict[str, Any], segments: Segments = CaseCdn.segments
) -> AsyncIterator[tuple[Any, CaseCdn]]:
    """Run a relaying edge whose videos have the case's playlist; yield the edge and the CDN."""
    async with serve_case(case, segments) as cdn:
        hosts = [cdn.origin.removeprefix("http://"), sandbox.origin.removeprefix("http://")]
        fault = Fault(status=302, headers=(("Location", cdn.url),))
        sandbox.controls.set_fault("playlist", fault)
        async with run_test_edge(
            sandbox,
            platform={"allowed_hosts": hosts},
            delivery={"mode": "relay"},
            web={"public_url": ""},  # the sandbox's URL has another port
        ) as edge:
            yield edge, cdn


def load_cases() -> list[dict[str, Any]]:
    """Return the reported streams, which come from other projects and are not part of this one."""
    return json.loads(CASES.read_text()) if CASES.exists() else []


def skip_without_cases(params: list[Any], names: int) -> list[Any]:
    """Return parameters for `pytest.mark.parametrize`; a skipped row if there are no cases.

    The cases belong to other projects, so they must not be committed, and a checkout without them
    can only skip them. `test_other_streams_of_these_kinds_play`, `tests/hls/test_canonical.py` and
    the streams in `players/streams.py` are of the same kinds, and always run.
    """
    reason = "third-party streams that must not be committed are not beside this checkout"
    skipped = pytest.param(*[None] * names, marks=pytest.mark.skip(reason=reason))
    return params or [skipped]
