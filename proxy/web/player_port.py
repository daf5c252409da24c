"""What players may ask. A handler reads, awaits, decides and answers; nothing else."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from aiohttp import web

from proxy.domain.client_ip import lockable
from proxy.web.headers import PREFLIGHT, content_security_policy
from proxy.web.reading import read_tokens, read_video, read_viewer
from proxy.web.services import SERVICES
from proxy.web.trace import TRACE

PAGE = files("proxy.web") / "player"
ASSETS = {"watch.js": "text/javascript", "watch.css": "text/css", "hls.min.js": "text/javascript"}


async def play(request: web.Request) -> web.Response:
    """Answer a player's first request with where its video is, for its address only."""
    services = request.app[SERVICES]
    video, viewer = read_video(request), read_viewer(request)

    claims = services.admission.admit(read_tokens(request), video=video, fmt="hls", viewer=viewer)
    request[TRACE].subject = claims.subject
    client_ip = lockable(viewer, services.viewers.private)
    url = await services.streams.resolve(video, viewer, client_ip=client_ip)
    return web.Response(status=302, headers={"Location": url})


async def preflight(_request: web.Request) -> web.Response:
    """Answer a browser that asks whether it may ask; no token is needed to be told."""
    return web.Response(status=204, headers=PREFLIGHT)


async def watch(request: web.Request) -> web.Response:
    """Serve the player page. It never mints: its token comes in the URL fragment."""
    read_video(request)
    return web.Response(
        body=page_file("watch.html"),
        content_type="text/html",
        charset="utf-8",
        headers={
            "Content-Security-Policy": content_security_policy(request.app[SERVICES].page_hosts)
        },
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
