"""What players may ask. A handler reads, awaits, decides and answers; nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from aiohttp import hdrs, web

from proxy.domain.client_ip import Address, lockable
from proxy.domain.formats import FORMATS, Format, read_choice, read_fields
from proxy.domain.probe import check_probe
from proxy.domain.tokens.claims import Claims
from proxy.domain.video import VideoId
from proxy.edge.delivery import Redirect
from proxy.edge.limits import CountedAs
from proxy.web.answers import M3U8, asked_of, pass_on, playlist_response, send
from proxy.web.headers import PREFLIGHT, content_security_policy
from proxy.web.reading import (
    note_session,
    note_token,
    read_queried_video,
    read_tokens,
    read_video,
    read_viewer,
    viewer_seen,
)
from proxy.web.services import SERVICES
from proxy.web.trace import TRACE

PAGE = files("proxy.web") / "player"
ASSETS = {"watch.js": "text/javascript", "watch.css": "text/css", "hls.min.js": "text/javascript"}


MP4 = "video/mp4"


@dataclass(frozen=True, slots=True)
class Admitted:
    """A play that may be, and whether it is settled whose the token is (`tokens.first_use`).

    A HEAD settles nothing, so what it is told before that is of no use to anybody.
    """

    claims: Claims
    is_settled: bool


async def play(request: web.Request) -> web.Response:
    """Answer a player's first request: with where its video is, or with the playlist itself."""
    services = request[SERVICES]
    video, viewer = read_video(request), read_viewer(request)

    admitted = await admit(request, video, viewer, ["hls"])
    if not admitted.is_settled:
        return web.Response(content_type=M3U8)
    client_ip = lockable(viewer, services.viewers.private)
    delivered = await services.delivery.deliver(video, viewer, admitted.claims, client_ip=client_ip)
    if isinstance(delivered, Redirect):
        return web.Response(status=302, headers={"Location": delivered.url})
    return playlist_response(request, delivered.body)


async def play_file(request: web.Request) -> web.Response:
    """Answer a player that wants an MP4, in the quality that the query names."""
    services = request[SERVICES]
    video, viewer = read_video(request), read_viewer(request)

    admitted = await admit(request, video, viewer, ["mp4"])
    choice = read_choice(list(request.query.items()))
    if not admitted.is_settled:
        return web.Response(content_type=MP4)
    client_ip = lockable(viewer, services.viewers.private)
    redirect = await services.delivery.deliver_file(
        video, viewer, admitted.claims, choice, client_ip=client_ip
    )
    request[TRACE].is_relayed = redirect.is_relayed
    return web.Response(status=302, headers={"Location": redirect.url})


async def stream_urls(request: web.Request) -> web.Response:
    """Answer in the JSON of Dailymotion's guide: the stream URLs of whoever asks."""
    services = request[SERVICES]
    video, viewer = read_queried_video(request), read_viewer(request)
    fields = read_fields(list(request.query.items()))

    admitted = await admit(request, video, viewer, [FORMATS[field] for field in fields])
    client_ip = lockable(viewer, services.viewers.private)
    urls = await services.delivery.find_urls(
        video, viewer, admitted.claims, fields, client_ip=client_ip
    )
    return web.json_response(urls)


async def admit(
    request: web.Request,
    video: VideoId,
    viewer: Address,
    formats: Sequence[Format],
    *,
    counted_as: CountedAs = "play",
) -> Admitted:
    """Return what the request's one token says if it covers all of this, or refuse."""
    admission = request[SERVICES].admission
    shown = await admission.verify(read_tokens(request))
    note_token(request, shown.claims)
    is_settled = await admission.admit(
        shown,
        video=video,
        formats=formats,
        viewer=viewer,
        counted_as=counted_as,
        is_use=request.method == hdrs.METH_GET,
    )
    return Admitted(shown.claims, is_settled=is_settled)


async def relayed_playlist(request: web.Request) -> web.StreamResponse:
    """Serve a playlist of a relayed session: its sealed path says which, and whose."""
    relay, viewer = request[SERVICES].relay, read_viewer(request)
    url = request.rel_url
    asked = relay.find_playlist(url.raw_path, list(url.query.items()))
    note_session(request, asked.sealed.session)
    session = asked.sealed.session
    relay.admit(session, viewer)
    with relay.request("playlist", session, viewer):
        body = await relay.fetch_playlist(asked, viewer)
        return await send(request, playlist_response(request, body))


async def relayed_bytes(request: web.Request) -> web.StreamResponse:
    """Pass on a segment, a key or the like, where no nginx does (deploy/nginx.conf, c)."""
    services, viewer = request[SERVICES], read_viewer(request)
    url = request.rel_url
    sealed = services.relay.find_bytes(url.raw_path, list(url.query.items()))
    note_session(request, sealed.session)
    services.relay.admit(sealed.session, viewer)
    with services.relay.request("bytes", sealed.session, viewer):
        async with services.cdn.open(request.method, sealed.url, asked_of(request)) as upstream:
            return await pass_on(request, upstream)


async def preflight(_request: web.Request) -> web.Response:
    """Answer a browser that asks whether it may ask; no token is needed to be told."""
    return web.Response(status=204, headers=PREFLIGHT)


async def probe(request: web.Request) -> web.Response:
    """Tell the operator whom the edge sees, and why (playgate doctor)."""
    services = request[SERVICES]
    given = request.query.getall("token", [])
    check_probe("".join(given), services.operator_key, now=services.now())
    address = viewer_seen(request)
    return web.json_response(
        {
            "viewer": None if address is None else str(address),
            "peer": request.remote or "unix",
            "peer_is_trusted": request[TRACE].is_from_proxy,
            "header": services.viewers.forwarded_header,
            "forwarded": request.headers.getall(services.viewers.forwarded_header, []),
            "host": request.host,
        }
    )


async def watch(request: web.Request) -> web.Response:
    """Serve the player page. It never mints: its token comes in the URL fragment."""
    services, _ = request[SERVICES], read_video(request)
    return web.Response(
        body=page_file("watch.html"),
        content_type="text/html",
        charset="utf-8",
        headers={
            "Content-Security-Policy": content_security_policy(
                services.page_hosts, services.embed_origins
            )
        },
    )


async def details(request: web.Request) -> web.Response:
    """Tell the player page what it shows around the video."""
    video, viewer = read_video(request), read_viewer(request)
    await admit(request, video, viewer, ["hls"], counted_as="details")
    found = await request[SERVICES].details.find(video)
    return web.json_response(
        {"title": found.title, "poster": found.poster or None, "live": found.is_on_air}
    )


async def asset(request: web.Request) -> web.Response:
    """Serve a file of the player page."""
    name = request.match_info["name"]
    if name not in ASSETS:
        raise web.HTTPNotFound
    return web.Response(
        body=page_file(name),
        content_type=ASSETS[name],
        charset="utf-8",
        headers={"Cache-Control": "public, max-age=3600"},
    )


@cache
def page_file(name: str) -> bytes:
    """Return a file of the player page, read from the disk once: reading blocks everybody."""
    return (PAGE / name).read_bytes()
