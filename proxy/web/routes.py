"""Every URL of Playgate, on one screen: name, path, methods and handlers."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from proxy.domain.reasons import Reason, Refusal
from proxy.web import auth, operator_api, operator_port, player_port
from proxy.web.connection import PORT
from proxy.web.observing import observed
from proxy.web.openapi.document import openapi


@dataclass(frozen=True, slots=True)
class Route:
    """A path with a handler for each method; the name is the metrics' label."""

    name: str
    path: str
    handlers: Mapping[str, Handler]


PLAY = {"GET": player_port.play, "HEAD": player_port.play, "OPTIONS": player_port.preflight}
PLAY_FILE = {
    "GET": player_port.play_file,
    "HEAD": player_port.play_file,
    "OPTIONS": player_port.preflight,
}
STREAM_URLS = {"GET": player_port.stream_urls, "OPTIONS": player_port.preflight}

RELAYED_PLAYLIST = {
    "GET": player_port.relayed_playlist,
    "HEAD": player_port.relayed_playlist,
    "OPTIONS": player_port.preflight,
}
RELAYED_BYTES = {
    "GET": player_port.relayed_bytes,
    "HEAD": player_port.relayed_bytes,
    "OPTIONS": player_port.preflight,
}

OPENAPI = Route("openapi", "/openapi.json", {"GET": openapi})

PLAYER_PORT = (
    Route("play", "/play/{video_id}.m3u8", PLAY),
    Route("play-file", "/play/{video_id}.mp4", PLAY_FILE),
    Route("probe", "/play/probe", {"GET": player_port.probe}),
    Route("stream-urls", "/stream-urls", STREAM_URLS),
    Route("relayed-playlist", "/relay/playlist/{path:.*}", RELAYED_PLAYLIST),
    Route("relayed-bytes", "/relay/bytes/{path:.*}", RELAYED_BYTES),
    OPENAPI,
)

PLAYER_PAGE = (  # served where web.player_page = true
    Route("watch", "/watch/{video_id}", {"GET": player_port.watch}),
    Route("details", "/watch/{video_id}/details", {"GET": player_port.details}),
    Route("asset", "/watch/assets/{name}", {"GET": player_port.asset}),
)

OPERATOR_PORT = (
    Route("auth", "/auth", {hdrs.METH_ANY: auth.auth}),
    Route("forward-auth", "/forward-auth", {hdrs.METH_ANY: auth.forward_auth}),
    Route("metrics", "/metrics", {"GET": operator_port.metrics}),
    Route("healthz", "/healthz", {"GET": operator_port.healthz, "HEAD": operator_port.healthz}),
    Route("readyz", "/readyz", {"GET": operator_port.readyz, "HEAD": operator_port.readyz}),
    Route("tokens", "/tokens", {"POST": operator_api.mint_token}),
    Route(
        "revocations",
        "/revocations",
        {"GET": operator_api.list_revocations, "POST": operator_api.revoke},
    ),
    OPENAPI,
)


def add_routes(app: web.Application, routes: tuple[Route, ...]) -> None:
    """Add routes exactly as they stand: signed paths stay as they came, nothing is normalised."""
    for route in routes:
        resource = app.router.add_resource(route.path, name=route.name)
        for method, handler in route.handlers.items():
            add_handler(app, resource, method, handler)
        if hdrs.METH_ANY not in route.handlers:
            add_handler(app, resource, hdrs.METH_ANY, not_allowed(route.handlers))


def add_fallback(app: web.Application) -> None:
    """Add what answers every other path, after all routes."""
    resource = app.router.add_resource(r"/{path:[\s\S]*}", name="unmatched")
    add_handler(app, resource, hdrs.METH_ANY, not_found)


def add_handler(
    app: web.Application, resource: web.Resource, method: str, handler: Handler
) -> None:
    """Add a handler, with all that happens around it."""
    around = observed(resource.name or "", handler, app[PORT])
    resource.add_route(method, around, expect_handler=expect)


async def not_found(_request: web.Request) -> web.Response:
    """Refuse a path that is none of ours."""
    raise Refusal(Reason.NOT_FOUND)


def not_allowed(handlers: Mapping[str, Handler]) -> Handler:
    """Return a handler that refuses every method but these."""

    async def refuse(request: web.Request) -> web.Response:
        raise web.HTTPMethodNotAllowed(request.method, handlers)

    return refuse


async def expect(request: web.Request) -> None:
    """Answer `Expect: 100-continue` and pass over any other (RFC 9110, 10.1.1 allows it).

    aiohttp's own would answer 417 before any of our handlers sees the request.
    """
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
        with suppress(ConnectionError):  # the client has left, as the handler will find out
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
