"""Build the aiohttp applications of both ports, and the services that their handlers use."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from proxy.adapters.clock import Clock
from proxy.adapters.logs import Logger
from proxy.adapters.telemetry import build_telemetry
from proxy.domain.client_ip import TrustedProxies, parse_trusted_networks
from proxy.edge.admission import Admission, RateLimits
from proxy.edge.delivery import Delivery
from proxy.edge.relay import Relay
from proxy.edge.relay_sessions import RelaySessions
from proxy.edge.state_sync import keep_pulling
from proxy.edge.token_verifier import TokenVerifier
from proxy.settings import Settings
from proxy.settings.settings_diff import compute_digest
from proxy.settings.value_checks import parse_listen
from proxy.web import headers, routes
from proxy.web.access_log import AccessLog
from proxy.web.connection import PORT, Connections, Port
from proxy.web.openapi import DOCUMENT, PortName, read_document
from proxy.web.request_context import Route
from proxy.web.services import Services, ServicesRef
from proxy.wiring import ProcessServices, open_process_services

MAX_BODY_BYTES = 16 * 1024  # of a request; only POST /tokens and /revocations have a body


@dataclass(frozen=True, slots=True)
class Apps:
    """The applications of both ports, and the services behind them."""

    player: web.Application
    operator: web.Application
    services_ref: ServicesRef
    process: ProcessServices

    @property
    def services(self) -> Services:
        """The current services; a reload of the settings replaces them."""
        return self.services_ref.services


@asynccontextmanager
async def open_apps(settings: Settings, *, log: Logger, clock: Clock) -> AsyncIterator[Apps]:
    """Build an edge; background tasks keep its data fresh until the context ends."""
    async with open_process_services(settings, build_telemetry(log, clock)) as process:
        services_ref = ServicesRef(build_services(settings, process))
        page = routes.PLAYER_PAGE if settings.web.player_page else ()
        player = _build_app("player", services_ref, (*routes.PLAYER_PORT, *page))
        operator = _build_app("operator", services_ref, routes.OPERATOR_PORT)
        jobs = [process.dailymotion.tokens.keep_fresh(), process.issuers.keep_fresh()]
        if process.state.is_shared:
            pulls = [process.revocations.pull, process.playable_cache.pull]
            jobs.append(keep_pulling(pulls, settings.state.max_staleness, process.telemetry))
        tasks = list(map(asyncio.create_task, jobs))
        try:
            yield Apps(player, operator, services_ref, process)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _build_app(
    port: PortName, services_ref: ServicesRef, port_routes: Sequence[Route]
) -> web.Application:
    services = services_ref.services
    config = services.settings.web if port == "player" else services.settings.operator
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    app[PORT] = Port(
        services_ref=services_ref,
        connections=Connections(),
        access_log=AccessLog(services.telemetry),
        headers=headers.PLAYER_PORT_HEADERS if port == "player" else headers.OPERATOR_PORT_HEADERS,
        is_unix_socket=bool(parse_listen(config.listen).path),
    )
    app[DOCUMENT] = read_document(port, [route.path for route in port_routes])
    routes.add_routes(app, port_routes)
    return app


def build_services(settings: Settings, process: ProcessServices) -> Services:
    """Build the services of the handlers, at start and after every change of the settings."""
    telemetry, dailymotion, tokens = process.telemetry, process.dailymotion, settings.tokens
    clock, revocations = telemetry.clock, process.revocations
    keys = TokenVerifier(tokens.list_keys(clock.now()), process.issuers, tokens.issuer_videos)
    first_use = process.first_use if tokens.bind_on_first_use else None
    limits = RateLimits(settings.limits, process.counters, clock)
    relay = Relay(
        dailymotion.streams,
        dailymotion.cdn,
        dailymotion.playlist_rewriter,
        RelaySessions(settings, revocations, clock),
        process.relay,
    )
    return Services(
        settings=settings,
        settings_digest=compute_digest(settings),
        telemetry=telemetry,
        proxies=TrustedProxies(parse_trusted_networks(settings.viewer.trusted_proxies)),
        admission=Admission(keys, tokens.policy, revocations, first_use, limits, clock),
        delivery=Delivery(dailymotion.streams, process.playable_cache, relay, settings.delivery),
        relay=relay,
        details=dailymotion.details,
        revocations=revocations,
        issuers=process.issuers,
    )
