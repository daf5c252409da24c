"""The routes of both ports, and functions that add them to an application."""

from collections.abc import Mapping, Sequence
from contextlib import suppress

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from proxy.domain.reasons import Reason, Refusal
from proxy.web import admin_api, auth, health, player_api
from proxy.web.connection import PORT
from proxy.web.openapi import serve_openapi
from proxy.web.request_context import Route
from proxy.web.request_wrapper import wrap_handler


def build_player_handlers(handler: Handler) -> dict[str, Handler]:
    """Build the handlers of a route for players: GET, HEAD and the CORS preflight of browsers."""
    return {"GET": handler, "HEAD": handler, "OPTIONS": player_api.respond_to_preflight}


OPENAPI = Route("openapi", "/openapi.json", {"GET": serve_openapi})
# fmt: off
PLAYER_PORT = (
    Route("play", "/play/{video_id}.m3u8", build_player_handlers(player_api.play),
          is_logged=True, is_play=True),
    Route("play-file", "/play/{video_id}.mp4", build_player_handlers(player_api.play_file),
          is_logged=True, is_play=True),
    Route("probe", "/play/probe", {"GET": player_api.respond_to_probe}),
    Route("stream-urls", "/stream-urls",
          {"GET": player_api.list_stream_urls, "OPTIONS": player_api.respond_to_preflight},
          client="api", is_logged=True, is_play=True),
    Route("relayed-playlist", "/relay/{seal}/playlist.m3u8",
          build_player_handlers(player_api.relay_playlist)),
    Route("relayed-list", "/relay/{seal}/list.json",
          build_player_handlers(player_api.relay_playlist)),
    Route("relayed-bytes", "/relay/{path:.*}", build_player_handlers(player_api.relay_bytes)),
    OPENAPI,
)
PLAYER_PAGE = (  # only if `web.player_page = true`
    Route("watch", "/watch/{video_id}", {"GET": player_api.serve_player_page}),
    Route("details", "/watch/{video_id}/details", {"GET": player_api.serve_details}),
    Route("asset", "/watch/assets/{name}", {"GET": player_api.serve_asset}),
)
OPERATOR_PORT = (
    Route("auth", "/auth", {hdrs.METH_ANY: auth.handle_auth}, client="nginx"),
    Route("forward-auth", "/forward-auth", {hdrs.METH_ANY: auth.handle_forward_auth},
          client="front-door"),
    Route("metrics", "/metrics", {"GET": health.serve_metrics}),
    Route("healthz", "/healthz", {"GET": health.serve_healthz, "HEAD": health.serve_healthz}),
    Route("readyz", "/readyz", {"GET": health.serve_readyz, "HEAD": health.serve_readyz}),
    Route("tokens", "/tokens", {"POST": admin_api.mint_token}, client="api", is_logged=True),
    Route("revocations", "/revocations",
          {"GET": admin_api.list_revocations, "POST": admin_api.revoke},
          client="api", is_logged=True),
    OPENAPI,
)
# fmt: on


def add_routes(app: web.Application, routes: Sequence[Route]) -> None:
    """Add routes, and handlers that refuse every other path and method."""
    for route in routes:
        handlers = dict(route.handlers)
        handlers.setdefault(hdrs.METH_ANY, _build_method_refusal(route.handlers))
        _add_route(app, route, handlers)
    _add_route(app, UNMATCHED, UNMATCHED.handlers)


def _add_route(app: web.Application, route: Route, handlers: Mapping[str, Handler]) -> None:
    resource = app.router.add_resource(route.path, name=route.name)
    for method, handler in handlers.items():
        resource.add_route(
            method, wrap_handler(route, handler, app[PORT]), expect_handler=handle_expect
        )


async def _refuse_path(_request: web.Request) -> web.Response:
    raise Refusal(Reason.NOT_FOUND)


UNMATCHED = Route("unmatched", r"/{path:[\s\S]*}", {hdrs.METH_ANY: _refuse_path}, is_logged=True)


def _build_method_refusal(handlers: Mapping[str, Handler]) -> Handler:

    async def refuse(request: web.Request) -> web.Response:
        raise web.HTTPMethodNotAllowed(request.method, handlers)

    return refuse


async def handle_expect(request: web.Request) -> None:
    """Send 100 Continue for `Expect: 100-continue`, and ignore any other Expect header.

    RFC 9110, 10.1.1 allows to ignore it. aiohttp's default handler would respond with 417 before
    the route's handler sees the request.
    """
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
        with suppress(ConnectionError):  # the client has disconnected; the handler will notice
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
