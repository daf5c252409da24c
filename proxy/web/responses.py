"""Answers: what each of them has, and those whose content comes from upstream."""

import re
from collections.abc import Mapping
from http import HTTPStatus

import aiohttp
from aiohttp import hdrs, web

from proxy.adapters.dailymotion.cdn import check_status, read_chunks
from proxy.domain.reasons import Reason, Refusal
from proxy.web.connection import PORT
from proxy.web.request_context import CONTEXT
from proxy.web.services import SERVICES

M3U8 = "application/vnd.apple.mpegurl"
MIN_COMPRESSED_BYTES = 1400  # bytes: what fits into a packet gets no faster

# What a player may ask of the upstream, and what it may be told in return. Everything else stays
# between the two sides: cookies, versions, and the upstream's own CORS headers in particular.
FORWARDED_REQUEST_HEADERS = (
    hdrs.RANGE,
    hdrs.IF_RANGE,
    hdrs.IF_NONE_MATCH,
    hdrs.IF_MODIFIED_SINCE,
)
FORWARDED_RESPONSE_HEADERS = (
    hdrs.CONTENT_TYPE,
    hdrs.CONTENT_DISPOSITION,  # of a download
    hdrs.CONTENT_LENGTH,
    hdrs.CONTENT_RANGE,
    hdrs.ACCEPT_RANGES,
    hdrs.ETAG,
    hdrs.LAST_MODIFIED,
)
CONDITIONAL_HEADERS = (hdrs.IF_NONE_MATCH, hdrs.IF_MODIFIED_SINCE)
HTML_TYPE = re.compile(r"(?:^|,)\s*text/html\s*(?:[;,]|$)", re.IGNORECASE)  # browsers take the last
ACCEPTS_GZIP = re.compile(r"\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|\Z))", re.ASCII)
# Another's bytes under our name: nothing runs, and no shared cache keeps what is one session's.
RELAYED_BYTES_HEADERS: dict[str, str] = {
    "Cache-Control": "private, max-age=0",
    "Content-Security-Policy": "sandbox; default-src 'none'",
}


def add_common_headers(
    request: web.Request, response: web.StreamResponse, headers: Mapping[str, str]
) -> None:
    """Add what every answer of a port has; nothing once its head is sent."""
    if response.prepared:
        return
    for name, value in headers.items():
        response.headers.setdefault(name, value)
    response.headers["X-Request-Id"] = request[CONTEXT].request_id
    if request[SERVICES].telemetry.health.is_draining or is_upgrade(request):
        response.force_close()


def is_upgrade(request: web.Request) -> bool:
    """Say whether more comes behind the head that nobody here will read.

    aiohttp would keep the connection and buffer what follows an upgrade or a CONNECT.
    """
    return request.method == hdrs.METH_CONNECT or hdrs.UPGRADE in request.headers


def build_playlist_response(request: web.Request, body: bytes) -> web.Response:
    """Return a playlist, always whole and with 200: players ask for ranges of it by mistake."""
    response = web.Response(body=body, content_type=M3U8)
    response.headers[hdrs.VARY] = hdrs.ACCEPT_ENCODING
    if len(body) > MIN_COMPRESSED_BYTES and ACCEPTS_GZIP.search(
        request.headers.get(hdrs.ACCEPT_ENCODING, "")
    ):
        response.enable_compression(web.ContentCoding.gzip)
    return response


async def send(request: web.Request, response: web.Response) -> web.Response:
    """Send a response and return when most of it is read; aiohttp would do so later."""
    add_common_headers(request, response, request.app[PORT].headers)
    try:
        await response.prepare(request)
        await response.write_eof()
    except ConnectionError:
        request[CONTEXT].is_abandoned = True
    return response


def select_request_headers(request: web.Request) -> dict[str, str]:
    """Return the headers of a request that go on to the upstream."""
    return {
        name: request.headers[name] for name in FORWARDED_REQUEST_HEADERS if name in request.headers
    }


async def relay_response(
    request: web.Request, upstream: aiohttp.ClientResponse
) -> web.StreamResponse:
    """Pass on an answer as it comes, as fast as the player takes it, or refuse.

    Where it breaks off in the middle, so does ours: half a segment must not look whole.
    """
    check_upstream_response(request, upstream)
    told: dict[str, str] = {
        name: upstream.headers[name]
        for name in FORWARDED_RESPONSE_HEADERS
        if name in upstream.headers and upstream.headers[name].isprintable()
    }
    response = web.StreamResponse(status=upstream.status, headers={**told, **RELAYED_BYTES_HEADERS})
    add_common_headers(request, response, request.app[PORT].headers)
    count = request[SERVICES].telemetry.metrics.http.relayed_bytes.inc
    try:
        await response.prepare(request)
        async for chunk in read_chunks(upstream):
            await response.write(chunk)
            count(len(chunk))
        await response.write_eof()
    except Refusal as refusal:  # too late for another answer, but not for the log
        request[CONTEXT].record_refusal(refusal)
        _abort_connection(request)
    except ConnectionError:
        request[CONTEXT].is_abandoned = True
    return response


def check_upstream_response(request: web.Request, upstream: aiohttp.ClientResponse) -> None:
    """Refuse an upstream's answer that is no answer to what was asked."""
    status = upstream.status
    is_conditional = any(name in request.headers for name in CONDITIONAL_HEADERS)
    is_empty = (status == HTTPStatus.NOT_MODIFIED and is_conditional) or (
        status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and hdrs.RANGE in request.headers
    )
    if not is_empty:
        check_status(status)
        encodings = upstream.headers.getall(hdrs.CONTENT_ENCODING, [])
        if any(encoding.lower() != "identity" for encoding in encodings):
            raise Refusal(Reason.PLATFORM_BAD_RESPONSE, "CDN: bytes came compressed")
        # Not aiohttp's content_type, which decodes parameters and fails on those of a hostile CDN.
        types = ",".join(upstream.headers.getall(hdrs.CONTENT_TYPE, []))
        if HTML_TYPE.search(types) is not None:
            raise Refusal(Reason.PLATFORM_BAD_RESPONSE, "CDN: a page came in place of bytes")


def _abort_connection(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
