"""Handlers of the player port: plays, stream URLs, relayed content and the player page."""

from functools import cache
from importlib.resources import files

from aiohttp import web

from proxy.domain.formats import FORMATS, read_fields, read_mp4_choice
from proxy.domain.play_request import PlayRequest
from proxy.domain.probe import check_probe
from proxy.domain.tokens.claims import Claims
from proxy.edge.delivery import Redirect
from proxy.web.headers import PREFLIGHT_HEADERS, build_content_security_policy
from proxy.web.request_context import CONTEXT
from proxy.web.request_parsing import (
    find_viewer_address,
    read_origin,
    read_play,
    read_queried_video,
    read_video,
    read_viewer,
    record_session,
)
from proxy.web.responses import (
    M3U8,
    build_playlist_response,
    relay_response,
    select_request_headers,
    send,
)
from proxy.web.services import SERVICES

PAGE_FOLDER = files("proxy.web") / "player"
ASSET_TYPES = {
    "watch.js": "text/javascript",
    "watch.css": "text/css",
    "hls.min.js": "text/javascript",
}
MP4_TYPE, JSON = "video/mp4", "application/json"


async def play(request: web.Request) -> web.Response:
    """Redirect a player to its HLS stream, or serve the playlist if playback is relayed."""
    play_request = read_play(request, "hls")
    claims, is_bound = await admit(request, play_request)
    if not is_bound:
        return web.Response(content_type=M3U8)
    delivered = await request[SERVICES].delivery.deliver(play_request, claims)
    if isinstance(delivered, Redirect):
        return web.Response(status=302, headers={"Location": delivered.url})
    return build_playlist_response(request, delivered.chunks, M3U8)


async def play_file(request: web.Request) -> web.Response:
    """Redirect a player to an MP4 file in the quality that the query selects."""
    play_request = read_play(request, "mp4")
    claims, is_bound = await admit(request, play_request)
    choice = read_mp4_choice(list(request.query.items()))
    if not is_bound:
        return web.Response(content_type=MP4_TYPE)
    redirect = await request[SERVICES].delivery.deliver_file(play_request, claims, choice)
    request[CONTEXT].is_relayed = redirect.is_relayed
    return web.Response(status=302, headers={"Location": redirect.url})


async def list_stream_urls(request: web.Request) -> web.Response:
    """Return the client's stream URLs as JSON, in the format of Dailymotion's own API."""
    video = read_queried_video(request)
    fields = read_fields(list(request.query.items()))
    play_request = read_play(request, *(FORMATS[field] for field in fields), video=video)
    claims, _ = await admit(request, play_request)
    urls = await request[SERVICES].delivery.find_urls(play_request, claims, fields)
    return web.json_response(urls)


async def admit(request: web.Request, play_request: PlayRequest) -> tuple[Claims, bool]:
    """Check that the token allows the play. Return its claims, and whether it is bound by now.

    A HEAD request does not bind a token (`tokens.bind_on_first_use`): while the token is unbound,
    the response to HEAD is empty.

    Raises:
        Refusal: the token is invalid or does not allow the play, or a rate limit is exceeded.
    """
    admission = request[SERVICES].admission
    claims = await admission.verify(play_request.token)
    request[CONTEXT].token = claims  # set before admission, so that refusals log it, too
    return claims, await admission.admit(play_request, claims)


async def relay_playlist(request: web.Request) -> web.StreamResponse:
    """Serve a playlist of a relayed session. The sealed path names the playlist and the session."""
    relay, viewer = request[SERVICES].relay, read_viewer(request)
    url = request.rel_url
    wanted = relay.find_playlist(url.raw_path, list(url.query.items()), read_origin(request))
    session = wanted.sealed.session
    record_session(request, session)
    relay.admit(session, viewer)
    with relay.request("playlist", session, viewer):
        playlist = await relay.fetch_playlist(wanted, viewer)
        content_type = JSON if playlist.is_json else M3U8
        return await send(request, build_playlist_response(request, playlist.chunks, content_type))


async def relay_bytes(request: web.Request) -> web.StreamResponse:
    """Relay a segment, a key or a file, unless nginx fetches the bytes (deploy/nginx.conf, c)."""
    relay, viewer = request[SERVICES].relay, read_viewer(request)
    sealed = relay.find_bytes(request.rel_url.raw_path)
    record_session(request, sealed.session)
    relay.admit(sealed.session, viewer)
    with relay.request("bytes", sealed.session, viewer):
        async with relay.open(
            request.method, sealed.url, select_request_headers(request)
        ) as upstream:
            return await relay_response(request, upstream)


async def respond_to_preflight(_request: web.Request) -> web.Response:
    """Respond to a CORS preflight. Needs no token."""
    return web.Response(status=204, headers=PREFLIGHT_HEADERS)


async def respond_to_probe(request: web.Request) -> web.Response:
    """Report which viewer address the edge sees, and how it found it, to `playgate doctor`."""
    services = request[SERVICES]
    header, key = services.settings.viewer.forwarded_header, services.settings.operator.key
    probe_token = "".join(request.query.getall("token", []))
    check_probe(probe_token, key.get_secret_value(), now=services.telemetry.clock.now())
    address = find_viewer_address(request)
    return web.json_response(
        {
            "viewer": None if address is None else str(address),
            "peer": request.remote or "unix",
            "peer_is_trusted": request[CONTEXT].is_from_proxy,
            "header": header,
            "forwarded": request.headers.getall(header, []),
            "host": request.host,
        }
    )


async def serve_player_page(request: web.Request) -> web.Response:
    """Serve the player page. Its token is in the URL fragment, so the page never mints tokens."""
    settings, _ = request[SERVICES].settings, read_video(request)
    policy = build_content_security_policy(
        settings.platform.allowed_hosts, settings.web.embed_origins
    )
    return web.Response(
        body=read_page_file("watch.html"),
        content_type="text/html",
        charset="utf-8",
        headers={"Content-Security-Policy": policy},
    )


async def serve_details(request: web.Request) -> web.Response:
    """Return the title, poster and live status that the player page shows."""
    play_request = read_play(request, "hls", counted_as="details")
    await admit(request, play_request)
    details = await request[SERVICES].details.find(play_request.video)
    return web.json_response(
        {"title": details.title, "poster": details.poster or None, "live": details.is_on_air}
    )


async def serve_asset(request: web.Request) -> web.Response:
    """Serve a file of the player page."""
    name = request.match_info["name"]
    if name not in ASSET_TYPES:
        raise web.HTTPNotFound
    return web.Response(
        body=read_page_file(name),
        content_type=ASSET_TYPES[name],
        charset="utf-8",
        headers={"Cache-Control": "public, max-age=3600"},
    )


@cache
def read_page_file(name: str) -> bytes:
    """Return a file of the player page. Cached, because a disk read blocks the event loop."""
    return (PAGE_FOLDER / name).read_bytes()
