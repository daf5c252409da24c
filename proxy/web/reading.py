"""What a request says: its video, its viewer, its tokens."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from uuid import uuid4

from aiohttp import hdrs, web

from proxy.domain.client_ip import Address, public_viewer, viewer_of
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.seal import Session
from proxy.domain.tokens.claims import Claims
from proxy.domain.tokens.compact import tokens_in
from proxy.domain.video import VideoId, parse_video_id
from proxy.web.connection import Port
from proxy.web.services import SERVICES
from proxy.web.trace import TRACE, Trace

BODY_TIMEOUT = 10.0  # seconds; a body has 16 kB at most
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


async def read_body(request: web.Request) -> bytes:
    """Return a request's body, or refuse one that does not come in time."""
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            return await request.read()
    except TimeoutError:
        message = f"The request body did not arrive within {BODY_TIMEOUT:g} seconds."
        raise Refusal(Reason.REQUEST_INVALID, message=message) from None


def read_trace(request: web.Request, port: Port) -> Trace:
    """Return the beginning of a request's story: who sent it, and its id."""
    proxies = request[SERVICES].viewers.proxies
    peer = None if port.is_unix_socket else proxies.hop(request.remote or "")
    # Who may open a Unix socket is one of ours.
    is_from_proxy = port.is_unix_socket or (peer is not None and peer.is_ours)
    given = request.headers.get("X-Request-Id", "")
    is_ours = is_from_proxy and REQUEST_ID.fullmatch(given) is not None
    return Trace(
        request_id=given if is_ours else uuid4().hex, peer=peer, is_from_proxy=is_from_proxy
    )


def read_video(request: web.Request) -> VideoId:
    """Return the video that the path names, or refuse."""
    video = parse_video_id(request.match_info["video_id"], request[SERVICES].video_id_pattern)
    request[TRACE].video = video
    return video


def read_queried_video(request: web.Request) -> VideoId:
    """Return the video that the query names, or refuse.

    A `client_ip`, as Dailymotion's own API takes one, is refused rather than passed over: whoever
    sends it expects that it counts.
    """
    given = request.query.getall("video_id", [])
    if len(given) != 1:
        raise Refusal(Reason.REQUEST_INVALID, message="The query needs video_id, exactly once.")
    if "client_ip" in request.query:
        raise Refusal(
            Reason.REQUEST_INVALID,
            message="client_ip cannot be chosen: the URLs are made for the address that asks.",
        )
    video = parse_video_id(given[0], request[SERVICES].video_id_pattern)
    request[TRACE].video = video
    return video


def note_session(request: web.Request, session: Session) -> None:
    """Note whose playback a sealed path belongs to, for the log line."""
    request[TRACE].video = session.video
    request[TRACE].subject = session.subject
    request[TRACE].jti = session.jti
    request[TRACE].issuer = session.issuer


def note_token(request: web.Request, claims: Claims) -> None:
    """Note whose token it is, and which, for the log line: also of one that is then refused."""
    request[TRACE].subject = claims.subject
    request[TRACE].jti = claims.jti
    request[TRACE].issuer = claims.issuer


def read_viewer(request: web.Request) -> Address:
    """Return the viewer's address, or refuse one that cannot be a viewer's."""
    viewers, address = request[SERVICES].viewers, viewer_seen(request)
    request[TRACE].viewer = address
    return public_viewer(address, viewers.private, loopback_viewers=viewers.loopback_viewers)


def viewer_seen(request: web.Request) -> Address | None:
    """Return whose request it is, whatever that address may do; None where no proxy says so."""
    viewers, trace = request[SERVICES].viewers, request[TRACE]
    if trace.peer is None and not trace.is_from_proxy:
        raise Refusal(Reason.VIEWER_PRIVATE, "the connection is gone, and its address with it")
    lines = request.headers.getall(viewers.forwarded_header, [])
    return viewer_of(trace.peer, lines, viewers.proxies)


def read_tokens(request: web.Request) -> Iterator[str]:
    """Yield every token that the request's query and headers carry."""
    yield from tokens_in(request.rel_url.raw_query_string)
    yield from header_tokens(request)


def header_tokens(request: web.Request) -> Iterator[str]:
    """Yield the tokens of `Authorization: Bearer` and of the cookie, however often they stand."""
    yield from bearer_tokens(request)
    cookie = request[SERVICES].token_cookie
    for line in request.headers.getall(hdrs.COOKIE, []):
        for pair in line.split(";"):
            name, _, value = pair.strip().partition("=")
            if name == cookie:
                yield value


def bearer_tokens(request: web.Request) -> Iterator[str]:
    """Yield the credentials of every `Authorization: Bearer` (RFC 6750, 2.1)."""
    for line in request.headers.getall(hdrs.AUTHORIZATION, []):
        scheme, _, credentials = line.partition(" ")
        if scheme.lower() == "bearer":
            yield credentials.strip()
