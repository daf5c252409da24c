"""Every URL of Playgate, on one screen: name, path, methods and handlers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from proxy.web import operator_port, player_port


@dataclass(frozen=True, slots=True)
class Route:
    """A path with a handler for each method; the name is the metrics' label."""

    name: str
    path: str
    handlers: Mapping[str, Handler]


PLAY = {"GET": player_port.play, "HEAD": player_port.play, "OPTIONS": player_port.preflight}

PLAYER_PORT = (Route("play", "/play/{video_id}.m3u8", PLAY),)

PLAYER_PAGE = (  # served where web.player_page = true
    Route("watch", "/watch/{video_id}", {"GET": player_port.watch}),
    Route("asset", "/watch/assets/{name}", {"GET": player_port.asset}),
)

OPERATOR_PORT = (
    Route("auth", "/auth", {hdrs.METH_ANY: operator_port.auth}),
    Route("metrics", "/metrics", {"GET": operator_port.metrics}),
    Route("healthz", "/healthz", {"GET": operator_port.healthz}),
    Route("readyz", "/readyz", {"GET": operator_port.readyz}),
    Route("tokens", "/tokens", {"POST": operator_port.mint_token}),
)


def add_routes(app: web.Application, routes: tuple[Route, ...]) -> None:
    """Add routes exactly as they stand: signed paths stay as they came, nothing is normalised."""
    for route in routes:
        resource = app.router.add_resource(route.path, name=route.name)
        for method, handler in route.handlers.items():
            resource.add_route(method, handler)
