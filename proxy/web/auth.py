"""What only front doors may ask: whether the request before them may have what it asks for."""

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

RELAYED_BYTES_PREFIX = "/relay/bytes/"


async def auth(request: web.Request) -> web.Response:
    """Tell nginx (`auth_request`) whether the original request may have what it asks for."""
    check_front_door(request, FORWARD_AUTH_HEADERS, "/forward-auth")
    original = read_original(
        uris=request.headers.getall("X-Original-URI", []),
        paths=request.headers.getall("X-Original-Path", []),
        methods=request.headers.getall("X-Original-Method", []),
    )
    if original.path.startswith(RELAYED_BYTES_PREFIX):
        return await authorize_bytes(request, original)
    tokens = [*original.query_tokens, *read_header_tokens(request)]
    play, claims = await authorize(request, original, tokens)
    return build_allowed_response(play.video, claims)


async def forward_auth(request: web.Request) -> web.Response:
    """Tell Caddy (`forward_auth`) or Traefik (`ForwardAuth`) the same.

    A refusal is handed on to the player as it is. A yes has a cookie to hand on, where the token
    came in the query and the video has a folder: players do not put it on the segments.
    """
    check_front_door(request, NGINX_HEADERS, "/auth")
    original = read_forwarded(
        uris=request.headers.getall("X-Forwarded-Uri", []),
        methods=request.headers.getall("X-Forwarded-Method", []),
    )
    # The cookie is of an earlier answer of ours: what the player itself brings is newer.
    brought = [*original.query_tokens, *read_bearer_tokens(request)]
    play, claims = await authorize(request, original, brought or read_header_tokens(request))
    response = build_allowed_response(play.video, claims)
    folder = find_folder(original.path, play.video)
    if folder is not None and play.token in original.query_tokens:
        response.headers[hdrs.SET_COOKIE] = format_token_cookie(request, play.token, claims, folder)
    return response


def check_front_door(request: web.Request, others: tuple[str, ...], route: str) -> None:
    """Refuse who is no trusted proxy, and one that asks the wrong route."""
    if not request[CONTEXT].is_from_proxy:
        raise Refusal(Reason.PEER_UNTRUSTED, f"asked by {request.remote}")
    reject_foreign_headers(request.headers, others, route)


async def authorize(
    request: web.Request, original: OriginalRequest, tokens: Iterable[str]
) -> tuple[PlayRequest, Claims]:
    """Return the play of the original request and what its one token says, or refuse."""
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
        counted_as=None,  # one of many segments
    )
    context.token = claims = await services.admission.verify(play.token)
    await services.admission.admit(play, claims)
    return play, claims


async def authorize_bytes(request: web.Request, original: OriginalRequest) -> web.Response:
    """Tell nginx where the bytes of a relayed session are, for it to fetch them itself."""
    relay, viewer = request[SERVICES].relay, read_viewer(request)
    sealed = relay.find_bytes(original.path, original.parse_query)
    record_session(request, sealed.session)
    relay.admit(sealed.session, viewer)
    response = build_allowed_response(sealed.session.video, sealed.session)
    response.headers["X-Playgate-Upstream"] = sealed.url
    return response


def build_allowed_response(video: VideoId, whose: Claims | Session) -> web.Response:
    """Return a yes, with what the log of a front door may show."""
    headers = {"X-Playgate-Video": to_loggable_id(video)}
    if whose.subject is not None:
        headers["X-Playgate-Subject"] = whose.subject
    if whose.issuer is not None:
        headers["X-Playgate-Issuer"] = whose.issuer
    return web.Response(status=204, headers=headers)


def format_token_cookie(request: web.Request, token: str, claims: Claims, folder: str) -> str:
    """Return the cookie that carries a good token to the other files in a folder."""
    services = request[SERVICES]
    left = max(0, int(claims.expires_at - services.telemetry.clock.now()))
    attributes = f"Path={folder}; Max-Age={left}; HttpOnly"
    if request.headers.get(hdrs.X_FORWARDED_PROTO) == "https":
        attributes += "; Secure; SameSite=None"  # players of other sites' pages send it, too
    return f"{services.settings.tokens.cookie}={token}; {attributes}"
