"""Read requests: their body, video, viewer address and tokens."""

import asyncio
import re
from collections.abc import Iterator

from aiohttp import hdrs, web

from proxy.domain.client_ip import Address, check_viewer, find_viewer, select_client_ip
from proxy.domain.formats import Format
from proxy.domain.play_request import CountedAs, PlayRequest
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.seal import Session
from proxy.domain.tokens.compact import read_query_tokens, require_single_token
from proxy.domain.video import VideoId, parse_video_id
from proxy.web.connection import Port
from proxy.web.request_context import CONTEXT, RequestContext, create_request_id
from proxy.web.services import SERVICES

BODY_TIMEOUT_SECONDS = 10.0  # a body has at most 16 kB
HOST = re.compile(r"(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?", re.ASCII)
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


async def read_body(request: web.Request) -> bytes:
    """Read a request's body.

    Raises:
        Refusal: the body does not arrive within BODY_TIMEOUT_SECONDS.
    """
    try:
        async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
            return await request.read()
    except TimeoutError:
        message = f"The request body did not arrive within {BODY_TIMEOUT_SECONDS:g} seconds."
        raise Refusal(Reason.REQUEST_INVALID, message=message) from None


def create_context(request: web.Request, port: Port) -> RequestContext:
    """Create the context of a new request, with its peer and its request ID.

    An `X-Request-Id` header is used only if a trusted proxy sent it.
    """
    proxies = request[SERVICES].proxies
    peer = None if port.is_unix_socket else proxies.read_hop(request.remote or "")
    # The permissions of a Unix socket admit trusted clients only.
    is_from_proxy = port.is_unix_socket or (peer is not None and peer.is_trusted_proxy)
    header = request.headers.get("X-Request-Id", "")
    is_usable = is_from_proxy and REQUEST_ID.fullmatch(header) is not None
    return RequestContext(
        request_id=header if is_usable else create_request_id(),
        peer=peer,
        is_from_proxy=is_from_proxy,
    )


def read_play(
    request: web.Request,
    *formats: Format,
    video: VideoId | None = None,
    counted_as: CountedAs = "play",
) -> PlayRequest:
    """Build the play request from an HTTP request, for the video in its path by default.

    Raises:
        Refusal: the request has no valid video ID, no usable viewer address, no token or several
            different tokens.
    """
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
    """Return the video ID in the path.

    Raises:
        Refusal: the path has no valid video ID.
    """
    return parse_video(request, request.match_info["video_id"])


def read_queried_video(request: web.Request) -> VideoId:
    """Return the video ID in the query.

    `client_ip`, a parameter of Dailymotion's own API, is refused and not ignored: a client that
    sends it expects it to take effect.

    Raises:
        Refusal: `video_id` is missing, repeated or not a video ID, or the query has `client_ip`.
    """
    video_ids = request.query.getall("video_id", [])
    if len(video_ids) != 1:
        raise Refusal(Reason.REQUEST_INVALID, message="The query must have video_id exactly once.")
    if "client_ip" in request.query:
        message = (
            "client_ip cannot be chosen: the URLs are made for the address that sends this "
            "request. Remove client_ip from the query."
        )
        raise Refusal(Reason.REQUEST_INVALID, message=message)
    return parse_video(request, video_ids[0])


def parse_video(request: web.Request, text: str) -> VideoId:
    """Parse a video ID and store it in the request's context.

    Raises:
        Refusal: `text` is not a valid video ID.
    """
    video = parse_video_id(text, request[SERVICES].settings.platform.video_ids)
    request[CONTEXT].video = video
    return video


def read_viewer(request: web.Request) -> Address:
    """Return the viewer's address.

    Raises:
        Refusal: the address is unknown, or private and `viewer.private` does not allow that.
    """
    settings, address = request[SERVICES].settings, find_viewer_address(request)
    request[CONTEXT].viewer = address
    return check_viewer(address, settings.viewer.private, loopback_viewers=settings.sandbox)


def find_viewer_address(request: web.Request) -> Address | None:
    """Return the unchecked viewer address; None if the forwarding header has no usable address.

    Raises:
        Refusal: the connection is closed, so its address is unknown.
    """
    services, context = request[SERVICES], request[CONTEXT]
    if context.peer is None and not context.is_from_proxy:
        raise Refusal(Reason.VIEWER_PRIVATE, "the connection is closed, its address is unknown")
    lines = request.headers.getall(services.settings.viewer.forwarded_header, [])
    return find_viewer(context.peer, lines, services.proxies)


def read_origin(request: web.Request) -> str:
    """Return the origin of this service as the client sees it.

    Without `web.public_url`, it is the Host header without a scheme, since a proxy may have ended
    TLS; empty if the header is malformed.
    """
    host = request.headers.get(hdrs.HOST, "")
    seen = f"//{host}" if HOST.fullmatch(host) is not None else ""
    return request[SERVICES].settings.web.public_url or seen


def record_session(request: web.Request, session: Session) -> None:
    """Store the session of a sealed path in the request's context, for the log line."""
    request[CONTEXT].video, request[CONTEXT].token = session.video, session


def read_tokens(request: web.Request) -> Iterator[str]:
    """Yield every token in the query, the Authorization headers and the cookies of a request."""
    yield from read_query_tokens(request.rel_url.raw_query_string)
    yield from read_header_tokens(request)


def read_header_tokens(request: web.Request) -> Iterator[str]:
    """Yield every token in `Authorization: Bearer` headers and in the token cookie."""
    yield from read_bearer_tokens(request)
    cookie = request[SERVICES].settings.tokens.cookie
    for line in request.headers.getall(hdrs.COOKIE, []):
        for pair in line.split(";"):
            name, _, value = pair.strip().partition("=")
            if name == cookie:
                yield value


def read_bearer_tokens(request: web.Request) -> Iterator[str]:
    """Yield the credentials of every `Authorization: Bearer` header (RFC 6750, 2.1)."""
    for line in request.headers.getall(hdrs.AUTHORIZATION, []):
        scheme, _, credentials = line.partition(" ")
        if scheme.lower() == "bearer":
            yield credentials.strip()
