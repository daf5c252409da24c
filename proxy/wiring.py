"""What lasts as long as the process: the state, Dailymotion, issuers; made of the settings."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import aiohttp

from proxy.adapters.concurrency import ConcurrencyLimit
from proxy.adapters.dailymotion.api_client import ApiClient
from proxy.adapters.dailymotion.cdn import Cdn, cdn_session
from proxy.adapters.dailymotion.legacy import LegacyApi
from proxy.adapters.dailymotion.login_file import LoginFile
from proxy.adapters.dailymotion.stored_login import PATIENCE, StoredLogin
from proxy.adapters.dailymotion.token_endpoint import TokenEndpoint
from proxy.adapters.dailymotion.v2 import V2Api
from proxy.adapters.errors import StateError
from proxy.adapters.http_client import HttpClient, Operation
from proxy.adapters.state.redis import RedisStore
from proxy.adapters.state.store import MemoryStore
from proxy.adapters.telemetry import Telemetry
from proxy.domain.allowed_hosts import AllowedHosts
from proxy.domain.client_ip import parse_address
from proxy.domain.rates import RateCounters
from proxy.domain.revocations import Proofs
from proxy.edge.access_tokens import AccessTokens
from proxy.edge.admission import FirstUse
from proxy.edge.checking import Checking
from proxy.edge.keys import Issuers
from proxy.edge.relay import RelayState
from proxy.edge.relay_sessions import SessionLimits
from proxy.edge.relayed_playlists import RelayedPlaylists
from proxy.edge.revocations import Revocations
from proxy.edge.shared_access_token import Grant, SharedAccessToken
from proxy.edge.state import State
from proxy.edge.stream_resolver import StreamResolver, VideoDetails
from proxy.edge.verdicts import Verdicts
from proxy.settings import Settings
from proxy.settings.checks import MEMORY
from proxy.settings.platform import PlatformConfig

FAMILIES = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
UPSTREAM_CONNECTIONS = 512  # at once; beyond it calls queue within their time
DETAILS_AT_ONCE, DETAILS_WAITING = 4, 32  # calls for player pages; plays have their own
# Reloads that the CDN holds back for seconds; they cost next to nothing meanwhile.
BLOCKING_AT_ONCE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Dailymotion:
    """Dailymotion as the edge uses it: its API, its CDN, and checks of playlists."""

    http: HttpClient
    tokens: AccessTokens
    streams: StreamResolver
    details: VideoDetails
    cdn: Cdn
    checking: Checking


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """What lasts as long as the process, whatever the settings are."""

    telemetry: Telemetry
    state: State
    revocations: Revocations
    first_use: FirstUse
    dailymotion: Dailymotion
    verdicts: Verdicts
    issuers: Issuers
    counters: RateCounters
    relay: RelayState


@asynccontextmanager
async def open_process(
    settings: Settings, telemetry: Telemetry, *, is_alone: bool = False
) -> AsyncIterator[Process]:
    """Build what lasts; a command that is to find out for itself shares no state (`is_alone`)."""
    async with (
        open_state(settings, telemetry, is_alone=is_alone) as (state, revocations),
        open_dailymotion(settings, telemetry, state) as dailymotion,
        open_issuers(settings, telemetry) as issuers,
    ):
        timeout = settings.platform.play_timeout
        streams, cdn, checking = dailymotion.streams, dailymotion.cdn, dailymotion.checking
        verdicts = Verdicts(streams, cdn, checking, state, telemetry, check_timeout=timeout)
        on_failure = settings.state.first_use_on_failure
        limits = settings.limits
        try:
            yield Process(
                telemetry=telemetry,
                state=state,
                revocations=revocations,
                first_use=FirstUse(state, telemetry.clock, on_failure=on_failure),
                dailymotion=dailymotion,
                verdicts=verdicts,
                issuers=issuers,
                counters=RateCounters(),
                relay=RelayState(
                    playlists=RelayedPlaylists(),
                    sessions=SessionLimits(places=limits.concurrency + limits.queue),
                    limit=build_limit(settings, telemetry, "playlist"),
                    blocking_limit=ConcurrencyLimit(BLOCKING_AT_ONCE, queue=0, max_wait=0),
                ),
            )
        finally:
            await verdicts.close()


@asynccontextmanager
async def open_state(
    settings: Settings, telemetry: Telemetry, *, is_alone: bool = False
) -> AsyncIterator[tuple[State, Revocations]]:
    """Open the state that instances share, and read the revocations if it answers."""
    url, config = settings.state.url.get_secret_value(), settings.state
    is_memory = is_alone or url == MEMORY
    store = MemoryStore(telemetry.clock) if is_memory else RedisStore(url, prefix=config.prefix)
    state = State(store, telemetry, timeout=config.timeout)
    proofs = Proofs(settings.platform.api_secret.get_secret_value())
    revocations = Revocations(state, telemetry, config, settings.longest, proofs)
    try:
        await state.open()
        try:
            await revocations.pull()
        except StateError as error:
            telemetry.log.warning("revocations-unknown", detail=error.detail)
            telemetry.health.is_informed = config.revocations_on_failure == "allow"
        yield state, revocations
    finally:
        await state.close()


@asynccontextmanager
async def open_dailymotion(
    settings: Settings, telemetry: Telemetry, state: State
) -> AsyncIterator[Dailymotion]:
    """Open the connections to Dailymotion's API and its CDN."""
    platform, clock = settings.platform, telemetry.clock
    hosts = AllowedHosts(platform.allowed_hosts, plain_http=settings.sandbox)
    family = FAMILIES[platform.address_family]
    timeout = platform.play_timeout
    async with (
        open_api_session(platform) as session,
        cdn_session(family, private_addresses=settings.sandbox) as playlists,
        cdn_session(family, private_addresses=settings.sandbox) as files,
    ):
        http = HttpClient(session, telemetry, attempt_timeout=platform.attempt_timeout)
        grant = build_grant(platform, http, session, telemetry)
        shared = SharedAccessToken(grant, state, platform, clock)
        tokens = AccessTokens(shared, telemetry, fetch_timeout=timeout)
        api = V2Api(platform) if platform.api == "v2" else LegacyApi(platform)
        limit = build_limit(settings, telemetry, "video")
        client = ApiClient(http, tokens, limit, telemetry, timeout=timeout)
        egress_ip = parse_address(platform.egress_ip)
        streams = StreamResolver(client, api, hosts, telemetry, egress_ip=egress_ip)
        few = ConcurrencyLimit(DETAILS_AT_ONCE, queue=DETAILS_WAITING, max_wait=timeout / 2)
        details = VideoDetails(
            ApiClient(http, tokens, few, telemetry, timeout=timeout), api, hosts, clock
        )
        attempt_timeout = platform.attempt_timeout
        cdn = Cdn(playlists, files, hosts, telemetry, attempt_timeout=attempt_timeout)
        try:
            yield Dailymotion(
                http=http,
                tokens=tokens,
                streams=streams,
                details=details,
                cdn=cdn,
                checking=Checking(telemetry, hosts),
            )
        finally:
            await streams.close()
            await details.close()
            await tokens.close()


@asynccontextmanager
async def open_api_session(platform: PlatformConfig) -> AsyncIterator[aiohttp.ClientSession]:
    """Open the session in which Dailymotion's API is called."""
    connector = aiohttp.TCPConnector(
        limit=0, limit_per_host=UPSTREAM_CONNECTIONS, family=FAMILIES[platform.address_family]
    )
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept": "application/json", "User-Agent": "playgate"},
    ) as session:
        yield session


@asynccontextmanager
async def open_issuers(settings: Settings, telemetry: Telemetry) -> AsyncIterator[Issuers]:
    """Open the connections to other issuers, over whichever address family."""
    platform = settings.platform
    async with aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(), headers={"User-Agent": "playgate"}
    ) as session:
        http = HttpClient(session, telemetry, attempt_timeout=platform.attempt_timeout)
        fetch = partial(http.fetch_text, "jwks", within=platform.play_timeout)
        issuers = Issuers(fetch, telemetry)
        issuers.trust(settings.tokens.issuer_urls)
        try:
            yield issuers
        finally:
            await issuers.close()


def build_grant(
    platform: PlatformConfig,
    http: HttpClient,
    session: aiohttp.ClientSession,
    telemetry: Telemetry,
) -> Grant:
    """Return the way to the edge's own access token."""
    if platform.grant != "authorization_code":
        return TokenEndpoint(http, platform, telemetry.clock)
    endpoint = TokenEndpoint(build_patient_http(session, telemetry), platform, telemetry.clock)
    return StoredLogin(endpoint, LoginFile(platform.login_file, telemetry.clock), telemetry.clock)


def build_patient_http(session: aiohttp.ClientSession, telemetry: Telemetry) -> HttpClient:
    """Return the client for what is asked once and waited for: codes, refresh tokens, uploads."""
    return HttpClient(session, telemetry, attempt_timeout=PATIENCE, attempts=1)


def build_limit(settings: Settings, telemetry: Telemetry, operation: Operation) -> ConcurrencyLimit:
    """Return the limit of concurrent requests of a kind, with its metric."""
    limits, max_wait = settings.limits, settings.platform.play_timeout / 2
    limit = ConcurrencyLimit(limits.concurrency, queue=limits.queue, max_wait=max_wait)
    calls = telemetry.metrics.upstream.calls
    calls.labels(operation=operation, state="active").set_function(lambda: limit.inside)
    calls.labels(operation=operation, state="waiting").set_function(lambda: limit.waiting)
    return limit
