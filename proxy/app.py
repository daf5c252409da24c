"""Settings in, two applications out."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web

from proxy.adapters.clock import Clock
from proxy.adapters.dailymotion.cdn import cdn_session
from proxy.adapters.jwks import PublishedKeys
from proxy.adapters.logs import Logger
from proxy.domain.reasons import Refusal
from proxy.edge.checking import Checking
from proxy.edge.issuers import Issuers
from proxy.edge.pulling import keep_pulling
from proxy.edge.state import State
from proxy.settings import Settings
from proxy.settings.listen import parse_listen
from proxy.web import headers, routes
from proxy.web.connection import HEAD_TIMEOUT, PORT, Heads, Port
from proxy.web.openapi import DOCUMENT, PortName, read_document
from proxy.web.route import Route
from proxy.web.services import Current, Services
from proxy.web.slow_readers import SlowReaders
from proxy.web.telling import Telling
from proxy.wiring.edge import Parts, build_parts, build_services
from proxy.wiring.instruments import Instruments, build_instruments
from proxy.wiring.platform import (
    Upstream,
    build_access_tokens,
    build_api,
    build_cdn,
    build_details,
    build_exchange,
    build_grant,
    build_streams,
)
from proxy.wiring.state import Shared, build_revocations, build_state

MAX_BODY = 16 * 1024  # bytes; only POST /tokens and /revocations have one
UPSTREAM_CONNECTIONS = 512  # at once; beyond it calls queue within their time
FAMILIES = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}


@dataclass(frozen=True, slots=True)
class Apps:
    """The player port, the operator port, and the state of both."""

    player: web.Application
    operator: web.Application
    current: Current
    parts: Parts

    @property
    def services(self) -> Services:
        """The services of the moment."""
        return self.current.services


@asynccontextmanager
async def open_api_session(settings: Settings) -> AsyncIterator[aiohttp.ClientSession]:
    """Open the session in which Dailymotion's API is called."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=0,
            limit_per_host=UPSTREAM_CONNECTIONS,
            family=FAMILIES[settings.platform.address_family],
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept": "application/json", "User-Agent": "playgate"},
    ) as session:
        yield session


@asynccontextmanager
async def open_upstream(
    settings: Settings, instruments: Instruments, state: State
) -> AsyncIterator[Upstream]:
    """Open the way to Dailymotion."""
    family = FAMILIES[settings.platform.address_family]
    async with (
        open_api_session(settings) as session,
        cdn_session(family, private_addresses=settings.sandbox) as playlists,
        cdn_session(family, private_addresses=settings.sandbox) as files,
    ):
        exchange = build_exchange(settings, session, instruments)
        grant = build_grant(settings, session, instruments)
        access_tokens = build_access_tokens(settings, grant, state, instruments)
        api = build_api(settings, exchange)
        streams = build_streams(settings, api, access_tokens, instruments)
        details = build_details(settings, api, access_tokens, instruments)
        cdn = build_cdn(settings, playlists, files, instruments)
        checking = Checking(instruments.metrics, instruments.clock, cdn.allow)
        try:
            yield Upstream(
                exchange=exchange,
                access_tokens=access_tokens,
                streams=streams,
                details=details,
                cdn=cdn,
                checking=checking,
            )
        finally:
            await streams.close()
            await details.close()
            await access_tokens.close()


@asynccontextmanager
async def open_state(settings: Settings, instruments: Instruments) -> AsyncIterator[Shared]:
    """Open the state that instances share, and learn what was taken back, if that can be had."""
    state = build_state(settings, instruments)
    revocations = build_revocations(settings, state, instruments)
    try:
        await state.open()
        try:
            await revocations.pull()
        except Refusal as refusal:
            instruments.log.warning("revocations-unknown", detail=refusal.detail)
            instruments.health.is_informed = settings.state.revocations_on_failure == "allow"
        yield Shared(state=state, revocations=revocations)
    finally:
        await state.close()


@asynccontextmanager
async def open_issuers(settings: Settings, instruments: Instruments) -> AsyncIterator[Issuers]:
    """Open the way to the keys that other issuers publish, over whichever address family."""
    async with aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(), headers={"User-Agent": "playgate"}
    ) as session:
        published = PublishedKeys(
            build_exchange(settings, session, instruments),
            timeout=settings.platform.play_timeout,
            clock=instruments.clock,
        )
        issuers = Issuers(
            published.fetch,
            clock=instruments.clock,
            metrics=instruments.metrics,
            log=instruments.log,
        )
        issuers.trust({entry.issuer: entry.jwks_url for entry in settings.tokens.issuers})
        try:
            yield issuers
        finally:
            await issuers.close()


@asynccontextmanager
async def build_apps(settings: Settings, *, log: Logger, clock: Clock) -> AsyncIterator[Apps]:
    """Wire an edge; within the context it keeps fresh what it has from elsewhere."""
    instruments = build_instruments(log, clock)
    async with (
        open_state(settings, instruments) as shared,
        open_upstream(settings, instruments, shared.state) as upstream,
        open_issuers(settings, instruments) as issuers,
    ):
        parts = build_parts(settings, instruments, upstream, shared, issuers)
        current = Current(build_services(settings, parts))
        background = [asyncio.create_task(work) for work in keeping_fresh(settings, parts)]
        try:
            yield Apps(
                player_app(settings, current), operator_app(settings, current), current, parts
            )
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await parts.verdicts.close()


def keeping_fresh(settings: Settings, parts: Parts) -> Iterator[Coroutine[Any, Any, None]]:
    """Yield what goes on behind the plays."""
    instruments, shared = parts.instruments, parts.shared
    yield parts.upstream.access_tokens.keep_fresh()
    yield parts.issuers.keep_fresh()
    if shared.state.is_shared:
        pulls = [shared.revocations.pull, parts.verdicts.pull]
        yield keep_pulling(
            pulls,
            settings.state.staleness,
            clock=instruments.clock,
            health=instruments.health,
            log=instruments.log,
        )


def player_app(settings: Settings, current: Current) -> web.Application:
    """Return the application that players reach."""
    served = (*routes.PLAYER_PORT, *(routes.PLAYER_PAGE if settings.web.player_page else ()))
    return _app("player", served, current, headers.PLAYER_PORT, settings.web.listen)


def operator_app(settings: Settings, current: Current) -> web.Application:
    """Return the application that players never reach."""
    return _app(
        "operator",
        routes.OPERATOR_PORT,
        current,
        headers.OPERATOR_PORT,
        settings.operator.listen,
    )


def _app(
    port: PortName,
    served: Sequence[Route],
    current: Current,
    port_headers: dict[str, str],
    listen: str,
) -> web.Application:
    app = web.Application(client_max_size=MAX_BODY)
    app[PORT] = Port(
        current=current,
        heads=Heads(HEAD_TIMEOUT),
        slow_readers=SlowReaders(),
        telling=Telling(current.services.metrics, current.services.log),
        headers=port_headers,
        is_unix_socket=bool(parse_listen(listen).path),
    )
    app[DOCUMENT] = read_document(port, [route.path for route in served])
    routes.add_routes(app, served)
    return app
