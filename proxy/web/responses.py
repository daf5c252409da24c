"""Common response headers; playlists; streaming of upstream bytes."""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from http import HTTPStatus

import aiohttp
from aiohttp import hdrs, web

from proxy.adapters.dailymotion.cdn import read_chunks
from proxy.adapters.dailymotion.cdn_responses import check_status
from proxy.domain.reasons import Reason, Refusal
from proxy.web.connection import PORT
from proxy.web.request_context import CONTEXT
from proxy.web.services import SERVICES

M3U8 = "application/vnd.apple.mpegurl"
MIN_COMPRESSED_BYTES = 1400  # compression does not speed up a body that fits into one packet

# The headers that the edge forwards in each direction. It forwards no others: in particular no
# cookies, no software versions and none of the upstream's CORS headers.
FORWARDED_REQUEST_HEADERS = (
    hdrs.RANGE,
    hdrs.IF_RANGE,
    hdrs.IF_NONE_MATCH,
    hdrs.IF_MODIFIED_SINCE,
)
FORWARDED_RESPONSE_HEADERS = (
    hdrs.CONTENT_TYPE,
    hdrs.CONTENT_DISPOSITION,  # for downloads
    hdrs.CONTENT_LENGTH,
    hdrs.CONTENT_RANGE,
    hdrs.ACCEPT_RANGES,
    hdrs.ETAG,
    hdrs.LAST_MODIFIED,
)
CONDITIONAL_HEADERS = (hdrs.IF_NONE_MATCH, hdrs.IF_MODIFIED_SINCE)
# Matches anywhere in a list of types: browsers use the last type.
HTML_TYPE = re.compile(r"(?:^|,)\s*text/html\s*(?:[;,]|$)", re.IGNORECASE)
# How a page begins, such as a bot challenge; no media file does.
MARKUP = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:[!?a-z])", re.IGNORECASE)
CONTENT_TYPES = {
    "aac": "audio/aac",
    "m4s": "video/mp4",
    "mp4": "video/mp4",
    "ts": "video/mp2t",
    "vtt": "text/vtt",
}
ACCEPTS_GZIP = re.compile(r"\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|\Z))", re.ASCII)
# Relayed bytes come from another host but appear under the edge's origin: the CSP lets nothing in
# them run. No shared cache may store them, because they belong to one session.
RELAYED_BYTES_HEADERS: dict[str, str] = {
    "Cache-Control": "private, max-age=0",
    "Content-Security-Policy": "sandbox; default-src 'none'",
}


def add_common_headers(
    request: web.Request, response: web.StreamResponse, headers: Mapping[str, str]
) -> None:
    """Add a port's common headers and the request ID, unless the headers are already sent.

    Also closes the connection after the response if the request asked for an upgrade or a tunnel,
    or if the edge is draining.
    """
    if response.prepared:
        return
    for name, value in headers.items():
        response.headers.setdefault(name, value)
    response.headers["X-Request-Id"] = request[CONTEXT].request_id
    if request[SERVICES].telemetry.health.is_draining or is_upgrade(request):
        response.force_close()


def is_upgrade(request: web.Request) -> bool:
    """Whether a request starts another protocol, with an Upgrade header or CONNECT.

    aiohttp would keep such a connection open and buffer all further data, which nothing reads.
    """
    return request.method == hdrs.METH_CONNECT or hdrs.UPGRADE in request.headers


def build_playlist_response(
    request: web.Request, chunks: Sequence[bytes], content_type: str
) -> web.Response:
    """Build the response with a playlist or a list, compressed if the client accepts gzip.

    Always the whole playlist with status 200, because players request ranges of it by mistake.
    """
    # aiohttp would compress and send a large body in one go, during which other requests wait.
    body = chunks[0] if len(chunks) == 1 else _iterate(chunks)
    response = web.Response(body=body, content_type=content_type)
    response.headers[hdrs.VARY] = hdrs.ACCEPT_ENCODING
    size = sum(map(len, chunks))
    response.headers[hdrs.CONTENT_LENGTH] = str(size)  # removed if compressed
    # For HEAD, aiohttp would send the end of a compressed body without its beginning.
    is_head = request.method == hdrs.METH_HEAD
    if (
        not is_head
        and size > MIN_COMPRESSED_BYTES
        and ACCEPTS_GZIP.search(request.headers.get(hdrs.ACCEPT_ENCODING, ""))
    ):
        response.enable_compression(web.ContentCoding.gzip)
    return response


async def _iterate(chunks: Sequence[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def send(request: web.Request, response: web.Response) -> web.Response:
    """Send a response now, and return when the client has read most of it.

    Without this, aiohttp sends the response only after the handler returns.
    """
    add_common_headers(request, response, request.app[PORT].headers)
    try:
        await response.prepare(request)
        await response.write_eof()
    except ConnectionError:
        request[CONTEXT].is_abandoned = True
    return response


def select_request_headers(request: web.Request) -> dict[str, str]:
    """Select the request headers that are forwarded to the upstream."""
    return {
        name: request.headers[name] for name in FORWARDED_REQUEST_HEADERS if name in request.headers
    }


async def relay_response(
    request: web.Request, upstream: aiohttp.ClientResponse
) -> web.StreamResponse:
    """Stream an upstream response to the player, as fast as the player reads.

    If the upstream response ends early, the connection is aborted, so that a partial segment cannot
    look complete.

    Raises:
        Refusal: the upstream's status or headers are unusable; nothing has been sent yet.
    """
    check_upstream_response(request, upstream)
    forwarded: dict[str, str] = {
        name: upstream.headers[name]
        for name in FORWARDED_RESPONSE_HEADERS
        if name in upstream.headers and upstream.headers[name].isprintable()
    }
    chunks, first = read_chunks(upstream), b""
    if is_html(upstream):
        forwarded[hdrs.CONTENT_TYPE] = guess_content_type(request.path)
        first = await anext(chunks, b"")
        if MARKUP.match(first) is not None:
            raise Refusal(Reason.PLATFORM_BAD_RESPONSE, "CDN: response is HTML, not media bytes")
    response = web.StreamResponse(
        status=upstream.status, headers={**forwarded, **RELAYED_BYTES_HEADERS}
    )
    add_common_headers(request, response, request.app[PORT].headers)
    count = request[SERVICES].telemetry.metrics.http.relayed_bytes.inc
    try:
        await response.prepare(request)
        if first:
            await response.write(first)
            count(len(first))
        async for chunk in chunks:
            await response.write(chunk)
            count(len(chunk))
        await response.write_eof()
    except Refusal as refusal:  # the response has begun, so only the log can report the refusal
        request[CONTEXT].record_refusal(refusal)
        _abort_connection(request)
    except ConnectionError:
        request[CONTEXT].is_abandoned = True
    return response


def check_upstream_response(request: web.Request, upstream: aiohttp.ClientResponse) -> None:
    """Check that an upstream response fits the request and is not compressed.

    Raises:
        Refusal: the status is unexpected, or the bytes are compressed.
    """
    status = upstream.status
    is_conditional = any(name in request.headers for name in CONDITIONAL_HEADERS)
    is_empty = (status == HTTPStatus.NOT_MODIFIED and is_conditional) or (
        status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and hdrs.RANGE in request.headers
    )
    if not is_empty:
        check_status(status)
        encodings = upstream.headers.getall(hdrs.CONTENT_ENCODING, [])
        if any(encoding.lower() != "identity" for encoding in encodings):
            raise Refusal(Reason.PLATFORM_BAD_RESPONSE, "CDN: response is compressed")


def is_html(upstream: aiohttp.ClientResponse) -> bool:
    """Return whether a response claims to be HTML, which CDNs do for segments, too."""
    # aiohttp's content_type decodes parameters and fails on those of a malicious CDN.
    types = ",".join(upstream.headers.getall(hdrs.CONTENT_TYPE, []))
    return HTML_TYPE.search(types) is not None


def guess_content_type(path: str) -> str:
    """Return the content type of a media file by its extension."""
    return CONTENT_TYPES.get(path.rpartition(".")[2].lower(), "application/octet-stream")


def _abort_connection(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
