"""Authorize requests for front doors: /auth for nginx, /forward-auth for Caddy and Traefik."""

from collections.abc import Iterable

from aiohttp import hdrs, web

from proxy.domain.original_uri import (
    FORWARD_AUTH_HEADERS,
    NGINX_HEADERS,
    OriginalRequest,
    find_folder,
    find_video,
    read_forwarded,
    read_original,
    reject_foreign_headers,
)
from proxy.domain.play_request import PlayRequest
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.seal import Session
from proxy.domain.tokens.claims import Claims
from proxy.domain.tokens.compact import require_single_token
from proxy.domain.video import VideoId, to_loggable_id
from proxy.web.request_context import CONTEXT
from proxy.web.request_parsing import (
    read_bearer_tokens,
    read_header_tokens,
    read_viewer,
    record_session,
)
from proxy.web.services import SERVICES

RELAY_PREFIX = "/relay/"


async def handle_auth(request: web.Request) -> web.Response:
    """Authorize the original request for nginx (`auth_request`)."""
    check_front_door(request, FORWARD_AUTH_HEADERS, "/forward-auth")
    original = read_original(
        uris=request.headers.getall("X-Original-URI", []),
        paths=request.headers.getall("X-Original-Path", []),
        methods=request.headers.getall("X-Original-Method", []),
    )
    if original.path.startswith(RELAY_PREFIX):
        return await authorize_bytes(request, original)
    tokens = [*original.query_tokens, *read_header_tokens(request)]
    play, claims = await authorize(request, original, tokens)
    return build_allowed_response(play.video, claims)


async def handle_forward_auth(request: web.Request) -> web.Response:
    """Authorize the original request for Caddy (`forward_auth`) or Traefik (`ForwardAuth`).

    The front door passes a refusal to the player unchanged. If the token is in the query and the
    video has a folder, the response sets a cookie: players do not add the query to segment URLs.
    """
    check_front_door(request, NGINX_HEADERS, "/auth")
    original = read_forwarded(
        uris=request.headers.getall("X-Forwarded-Uri", []),
        methods=request.headers.getall("X-Forwarded-Method", []),
    )
    # An earlier response of the edge set the cookie: a token from the player itself is newer.
    player_tokens = [*original.query_tokens, *read_bearer_tokens(request)]
    play, claims = await authorize(request, original, player_tokens or read_header_tokens(request))
    response = build_allowed_response(play.video, claims)
    folder = find_folder(original.path, play.video)
    if folder is not None and play.token in original.query_tokens:
        response.headers[hdrs.SET_COOKIE] = format_token_cookie(request, play.token, claims, folder)
    return response


def check_front_door(
    request: web.Request, foreign_headers: tuple[str, ...], their_route: str
) -> None:
    """Reject untrusted peers, and requests meant for the other auth route.

    Raises:
        Refusal: the peer is not a trusted proxy, or sent one of `foreign_headers`, which belong to
            `their_route`.
    """
    if not request[CONTEXT].is_from_proxy:
        raise Refusal(Reason.PEER_UNTRUSTED, f"request from {request.remote}")
    reject_foreign_headers(request.headers, foreign_headers, their_route)


async def authorize(
    request: web.Request, original: OriginalRequest, tokens: Iterable[str]
) -> tuple[PlayRequest, Claims]:
    """Check the token of the original request; return the play request and the token's claims.

    Raises:
        Refusal: the path names no protected video, or the token does not allow the request.
    """
    services, context = request[SERVICES], request[CONTEXT]
    rules, video_ids = services.settings.auth.patterns, services.settings.platform.video_ids
    context.video = find_video(original.path, rules, video_ids)
    play = PlayRequest(
        video=context.video,
        viewer=read_viewer(request),
        client_ip=None,
        formats=("hls",),
        method=original.method,
        token=require_single_token(tokens),
        counted_as=None,  # no rate limit: one play requests many segments
    )
    context.token = claims = await services.admission.verify(play.token)
    await services.admission.admit(play, claims)
    return play, claims


async def authorize_bytes(request: web.Request, original: OriginalRequest) -> web.Response:
    """Give nginx the upstream URL of a sealed path, so that nginx fetches the bytes itself."""
    relay, viewer = request[SERVICES].relay, read_viewer(request)
    sealed = relay.find_bytes(original.path)
    record_session(request, sealed.session)
    relay.admit(sealed.session, viewer)
    response = build_allowed_response(sealed.session.video, sealed.session)
    response.headers["X-Playgate-Upstream"] = sealed.url
    return response


def build_allowed_response(video: VideoId, owner: Claims | Session) -> web.Response:
    """Build the 204 response that grants access, with headers for the front door's access log."""
    headers = {"X-Playgate-Video": to_loggable_id(video)}
    if owner.subject is not None:
        headers["X-Playgate-Subject"] = owner.subject
    if owner.issuer is not None:
        headers["X-Playgate-Issuer"] = owner.issuer
    return web.Response(status=204, headers=headers)


def format_token_cookie(request: web.Request, token: str, claims: Claims, folder: str) -> str:
    """Format a Set-Cookie value that carries a token to the other files in a folder."""
    services = request[SERVICES]
    max_age = max(0, int(claims.expires_at - services.telemetry.clock.now()))
    attributes = f"Path={folder}; Max-Age={max_age}; HttpOnly"
    if request.headers.get(hdrs.X_FORWARDED_PROTO) == "https":
        attributes += "; Secure; SameSite=None"  # players embedded in other sites send it, too
    return f"{services.settings.tokens.cookie}={token}; {attributes}"
