"""The only wiring: settings in, two applications out."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import stamina.instrumentation
from aiohttp import web

from proxy.adapters.clock import Clock
from proxy.adapters.dailymotion.exchange import Exchange
from proxy.adapters.dailymotion.legacy import Account, LegacyApi
from proxy.adapters.logs import Logger
from proxy.adapters.metrics import Metrics
from proxy.domain.access import TokenPolicy
from proxy.domain.client_ip import TrustedProxies, parse_networks
from proxy.domain.tokens.keyring import Keyring
from proxy.edge.access_tokens import AccessTokens
from proxy.edge.admission import Admission
from proxy.edge.health import Health
from proxy.edge.minting import Minting
from proxy.edge.streams import Streams
from proxy.settings import Settings
from proxy.settings.listen import parse_listen
from proxy.web import headers, routes
from proxy.web.connection import HEADS, PORT_HEADERS, Heads
from proxy.web.middlewares import observe, refusals_to_responses, with_headers
from proxy.web.services import ON_UNIX_SOCKET, SERVICES, Services, Viewers

MAX_BODY = 16 * 1024  # bytes; only POST /tokens has one
UPSTREAM_CONNECTIONS = 512  # at once; beyond it calls queue within their time


@dataclass(frozen=True, slots=True)
class Apps:
    """The player port, the operator port, and the state of both."""

    player: web.Application
    operator: web.Application
    services: Services


@asynccontextmanager
async def build_apps(settings: Settings, *, log: Logger, clock: Clock) -> AsyncIterator[Apps]:
    """Wire an edge; within the context it keeps its access token fresh."""
    stamina.instrumentation.set_on_retry_hooks(())  # our own metric counts retries
    metrics = Metrics()
    health = Health(clock, metrics, log)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, limit_per_host=UPSTREAM_CONNECTIONS),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept": "application/json", "User-Agent": "playgate"},
    ) as session:
        api = build_api(settings, session, metrics, clock)
        access_tokens = AccessTokens(
            api,
            clock=clock,
            metrics=metrics,
            health=health,
            log=log,
            fetch_timeout=settings.platform.play_timeout,
        )
        streams = Streams(
            api,
            access_tokens,
            clock=clock,
            health=health,
            allowed_hosts=settings.platform.allowed_hosts,
            plain_http=settings.sandbox,
            play_timeout=settings.platform.play_timeout,
        )
        services = build_services(
            settings, streams=streams, health=health, metrics=metrics, log=log, clock=clock
        )
        keeping = asyncio.create_task(access_tokens.keep_fresh())
        try:
            yield Apps(player_app(settings, services), operator_app(settings, services), services)
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            await streams.close()
            await access_tokens.close()


def player_app(settings: Settings, services: Services) -> web.Application:
    """Return the application that players reach."""
    app = _app(settings, services, headers.PLAYER_PORT, settings.web.listen)
    routes.add_routes(app, routes.PLAYER_PORT)
    if settings.web.player_page:
        routes.add_routes(app, routes.PLAYER_PAGE)
    routes.add_fallback(app)
    return app


def operator_app(settings: Settings, services: Services) -> web.Application:
    """Return the application that players never reach."""
    app = _app(settings, services, headers.OPERATOR_PORT, settings.operator.listen)
    routes.add_routes(app, routes.OPERATOR_PORT)
    routes.add_fallback(app)
    return app


def _app(
    settings: Settings, services: Services, port_headers: dict[str, str], listen: str
) -> web.Application:
    middlewares = [observe, with_headers(port_headers), refusals_to_responses]
    app = web.Application(middlewares=middlewares, client_max_size=MAX_BODY)
    app[SERVICES] = services
    app[HEADS] = Heads(settings.web.head_timeout)
    app[PORT_HEADERS] = port_headers
    app[ON_UNIX_SOCKET] = bool(parse_listen(listen).path)
    return app


def build_api(
    settings: Settings, session: aiohttp.ClientSession, metrics: Metrics, clock: Clock
) -> LegacyApi:
    """Return the way to Dailymotion."""
    platform = settings.platform
    return LegacyApi(
        Exchange(session, metrics, clock, attempt_timeout=platform.attempt_timeout),
        Account(
            api_key=platform.api_key,
            api_secret=platform.api_secret.get_secret_value(),
            scope=platform.scope,
        ),
        token_url=platform.token_url,
        rest_url=platform.rest_url,
        stream_fields=platform.stream_fields,
        state_fields=platform.state_fields,
    )


def build_services(
    settings: Settings,
    *,
    streams: Streams,
    health: Health,
    metrics: Metrics,
    log: Logger,
    clock: Clock,
) -> Services:
    """Return what the handlers work with."""
    keyring = build_keyring(settings)
    return Services(
        admission=Admission(keyring, build_policy(settings), clock),
        streams=streams,
        minting=build_minting(settings, keyring, clock),
        health=health,
        viewers=Viewers(
            proxies=TrustedProxies(networks=parse_networks(settings.viewer.trusted_proxies)),
            forwarded_header=settings.viewer.forwarded_header,
            private=settings.viewer.private,
            loopback_viewers=settings.sandbox,
        ),
        metrics=metrics,
        log=log,
        token_cookie=settings.tokens.cookie,
        video_id_pattern=re.compile(settings.platform.video_id_pattern),
        auth_paths=tuple(re.compile(path) for path in settings.auth.paths),
        operator_key=settings.operator.key.get_secret_value(),
        page_hosts=settings.platform.allowed_hosts,
    )


def build_keyring(settings: Settings) -> Keyring:
    """Return the keys in use."""
    return Keyring(entry.key for entry in settings.tokens.keys)


def build_policy(settings: Settings) -> TokenPolicy:
    """Return what is asked of every token."""
    tokens = settings.tokens
    return TokenPolicy(
        max_ttl=tokens.max_ttl, leeway=tokens.leeway, audience=tokens.audience or None
    )


def build_minting(settings: Settings, keyring: Keyring, clock: Clock) -> Minting:
    """Return the way to make tokens."""
    tokens = settings.tokens
    return Minting(
        keyring,
        clock,
        audience=tokens.audience or None,
        default_ttl=tokens.default_ttl,
        max_ttl=tokens.max_ttl,
        public_url=settings.web.public_url,
        video_id_pattern=re.compile(settings.platform.video_id_pattern),
    )
