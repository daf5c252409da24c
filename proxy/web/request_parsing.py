"""What a request says: its video, its viewer, its tokens."""

import asyncio
import re
from collections.abc import Iterator
from uuid import uuid4

from aiohttp import hdrs, web

from proxy.domain.client_ip import Address, check_viewer, find_viewer, select_client_ip
from proxy.domain.formats import Format
from proxy.domain.play_request import CountedAs, PlayRequest
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.seal import Session
from proxy.domain.tokens.compact import read_query_tokens, require_single_token
from proxy.domain.video import VideoId, parse_video_id
from proxy.web.connection import Port
from proxy.web.request_context import CONTEXT, RequestContext
from proxy.web.services import SERVICES

BODY_TIMEOUT_SECONDS = 10.0  # seconds; a body has 16 kB at most
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


async def read_body(request: web.Request) -> bytes:
    """Return a request's body, or refuse one that does not come in time."""
    try:
        async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
            return await request.read()
    except TimeoutError:
        message = f"The request body did not arrive within {BODY_TIMEOUT_SECONDS:g} seconds."
        raise Refusal(Reason.REQUEST_INVALID, message=message) from None


def create_context(request: web.Request, port: Port) -> RequestContext:
    """Return the beginning of a request's story: who sent it, and its id."""
    proxies = request[SERVICES].proxies
    peer = None if port.is_unix_socket else proxies.read_hop(request.remote or "")
    # Who may open a Unix socket is one of ours.
    is_from_proxy = port.is_unix_socket or (peer is not None and peer.is_trusted_proxy)
    given = request.headers.get("X-Request-Id", "")
    is_ours = is_from_proxy and REQUEST_ID.fullmatch(given) is not None
    return RequestContext(
        request_id=given if is_ours else uuid4().hex, peer=peer, is_from_proxy=is_from_proxy
    )


def read_play(
    request: web.Request,
    *formats: Format,
    video: VideoId | None = None,
    counted_as: CountedAs = "play",
) -> PlayRequest:
    """Return what a request asks to play, of the video in its path by default; or refuse."""
    return PlayRequest(
        video=video or read_video(request),
        viewer=(viewer := read_viewer(request)),
        client_ip=select_client_ip(viewer, request[SERVICES].settings.viewer.private),
        formats=formats,
        method=request.method,
        token=require_single_token(read_tokens(request)),
        counted_as=counted_as,
    )


def read_video(request: web.Request) -> VideoId:
    """Return the video that the path names, or refuse."""
    return parse_video(request, request.match_info["video_id"])


def read_queried_video(request: web.Request) -> VideoId:
    """Return the video that the query names, or refuse.

    A `client_ip`, as Dailymotion's own API takes one, is refused rather than ignored: whoever sends
    it expects that it counts.
    """
    given = request.query.getall("video_id", [])
    if len(given) != 1:
        raise Refusal(Reason.REQUEST_INVALID, message="The query needs video_id, exactly once.")
    if "client_ip" in request.query:
        raise Refusal(
            Reason.REQUEST_INVALID,
            message="client_ip cannot be chosen: the URLs are made for the address that asks.",
        )
    return parse_video(request, given[0])


def parse_video(request: web.Request, text: str) -> VideoId:
    """Return the video ID that a text is, or refuse."""
    video = parse_video_id(text, request[SERVICES].settings.platform.video_ids)
    request[CONTEXT].video = video
    return video


def read_viewer(request: web.Request) -> Address:
    """Return the viewer's address, or refuse one that cannot be a viewer's."""
    settings, address = request[SERVICES].settings, find_viewer_address(request)
    request[CONTEXT].viewer = address
    return check_viewer(address, settings.viewer.private, loopback_viewers=settings.sandbox)


def find_viewer_address(request: web.Request) -> Address | None:
    """Return whose request it is, whatever that address may do; None if no proxy says so."""
    services, context = request[SERVICES], request[CONTEXT]
    if context.peer is None and not context.is_from_proxy:
        raise Refusal(Reason.VIEWER_PRIVATE, "the connection is gone, and its address with it")
    lines = request.headers.getall(services.settings.viewer.forwarded_header, [])
    return find_viewer(context.peer, lines, services.proxies)


def record_session(request: web.Request, session: Session) -> None:
    """Note whose playback a sealed path belongs to, for the log line."""
    request[CONTEXT].video, request[CONTEXT].token = session.video, session


def read_tokens(request: web.Request) -> Iterator[str]:
    """Yield every token that the request's query and headers carry."""
    yield from read_query_tokens(request.rel_url.raw_query_string)
    yield from read_header_tokens(request)


def read_header_tokens(request: web.Request) -> Iterator[str]:
    """Yield the tokens of `Authorization: Bearer` and of the cookie, however often they stand."""
    yield from read_bearer_tokens(request)
    cookie = request[SERVICES].settings.tokens.cookie
    for line in request.headers.getall(hdrs.COOKIE, []):
        for pair in line.split(";"):
            name, _, value = pair.strip().partition("=")
            if name == cookie:
                yield value


def read_bearer_tokens(request: web.Request) -> Iterator[str]:
    """Yield the credentials of every `Authorization: Bearer` (RFC 6750, 2.1)."""
    for line in request.headers.getall(hdrs.AUTHORIZATION, []):
        scheme, _, credentials = line.partition(" ")
        if scheme.lower() == "bearer":
            yield credentials.strip()
