"""Every URL of Playgate: the routes of both ports, and how an application gets them."""

from collections.abc import Mapping, Sequence
from contextlib import suppress

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from proxy.domain.reasons import Reason, Refusal
from proxy.web import auth, operator_api, operator_port, player_port
from proxy.web.connection import PORT
from proxy.web.context import Route
from proxy.web.observing import observed
from proxy.web.openapi import openapi


def for_players(handler: Handler) -> dict[str, Handler]:
    """Return the handlers of a route that players, and browsers before them, request."""
    return {"GET": handler, "HEAD": handler, "OPTIONS": player_port.preflight}


OPENAPI = Route("openapi", "/openapi.json", {"GET": openapi})
# fmt: off
PLAYER_PORT = (
    Route("play", "/play/{video_id}.m3u8", for_players(player_port.play),
          is_logged=True, is_play=True),
    Route("play-file", "/play/{video_id}.mp4", for_players(player_port.play_file),
          is_logged=True, is_play=True),
    Route("probe", "/play/probe", {"GET": player_port.probe}),
    Route("stream-urls", "/stream-urls",
          {"GET": player_port.stream_urls, "OPTIONS": player_port.preflight},
          client="api", is_logged=True, is_play=True),
    Route("relayed-playlist", "/relay/playlist/{path:.*}",
          for_players(player_port.relayed_playlist)),
    Route("relayed-bytes", "/relay/bytes/{path:.*}", for_players(player_port.relayed_bytes)),
    OPENAPI,
)
PLAYER_PAGE = (  # served where web.player_page = true
    Route("watch", "/watch/{video_id}", {"GET": player_port.watch}),
    Route("details", "/watch/{video_id}/details", {"GET": player_port.details}),
    Route("asset", "/watch/assets/{name}", {"GET": player_port.asset}),
)
OPERATOR_PORT = (
    Route("auth", "/auth", {hdrs.METH_ANY: auth.auth}, client="nginx"),
    Route("forward-auth", "/forward-auth", {hdrs.METH_ANY: auth.forward_auth}, client="front-door"),
    Route("metrics", "/metrics", {"GET": operator_port.metrics}),
    Route("healthz", "/healthz", {"GET": operator_port.healthz, "HEAD": operator_port.healthz}),
    Route("readyz", "/readyz", {"GET": operator_port.readyz, "HEAD": operator_port.readyz}),
    Route("tokens", "/tokens", {"POST": operator_api.mint_token}, client="api", is_logged=True),
    Route("revocations", "/revocations",
          {"GET": operator_api.list_revocations, "POST": operator_api.revoke},
          client="api", is_logged=True),
    OPENAPI,
)
# fmt: on


def add_routes(app: web.Application, routes: Sequence[Route]) -> None:
    """Add routes, and after them what refuses every other path and method."""
    for route in routes:
        handlers = dict(route.handlers)
        handlers.setdefault(hdrs.METH_ANY, _refuse_method(route.handlers))
        _add(app, route, handlers)
    _add(app, UNMATCHED, UNMATCHED.handlers)


def _add(app: web.Application, route: Route, handlers: Mapping[str, Handler]) -> None:
    resource = app.router.add_resource(route.path, name=route.name)
    for method, handler in handlers.items():
        resource.add_route(
            method, observed(route, handler, app[PORT]), expect_handler=answer_expect
        )


async def _refuse_path(_request: web.Request) -> web.Response:
    raise Refusal(Reason.NOT_FOUND)


UNMATCHED = Route("unmatched", r"/{path:[\s\S]*}", {hdrs.METH_ANY: _refuse_path}, is_logged=True)


def _refuse_method(handlers: Mapping[str, Handler]) -> Handler:

    async def refuse(request: web.Request) -> web.Response:
        raise web.HTTPMethodNotAllowed(request.method, handlers)

    return refuse


async def answer_expect(request: web.Request) -> None:
    """Answer `Expect: 100-continue` and ignore any other (RFC 9110, 10.1.1 allows it).

    aiohttp's own would answer 417 before any of our handlers sees the request.
    """
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
        with suppress(ConnectionError):  # the client has left, as the handler will find out
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
