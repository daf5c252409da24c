"""Build the services that live as long as the process: shared state, Dailymotion, issuers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import aiohttp

from proxy.adapters.concurrency import ConcurrencyLimit
from proxy.adapters.dailymotion.api_client import ApiClient
from proxy.adapters.dailymotion.api_session import FAMILIES, open_api_session
from proxy.adapters.dailymotion.cdn import Cdn
from proxy.adapters.dailymotion.cdn_session import open_cdn_session
from proxy.adapters.dailymotion.legacy_api import LegacyApi
from proxy.adapters.dailymotion.refresh_token_file import RefreshTokenFile
from proxy.adapters.dailymotion.refresh_token_grant import TOKEN_TIMEOUT_SECONDS, RefreshTokenGrant
from proxy.adapters.dailymotion.token_endpoint import TokenEndpoint
from proxy.adapters.dailymotion.v2_api import V2Api
from proxy.adapters.errors import StateError
from proxy.adapters.http_client import HttpClient, Operation
from proxy.adapters.state.redis import RedisStore
from proxy.adapters.state.store import MemoryStore
from proxy.adapters.telemetry import Telemetry
from proxy.domain.allowed_hosts import AllowedHosts
from proxy.domain.client_ip import parse_address
from proxy.domain.rates import RateCounters
from proxy.domain.revocations import RevocationProofs
from proxy.edge.access_token_cache import AccessTokenCache
from proxy.edge.admission import FirstUse
from proxy.edge.jwks_cache import JwksCache
from proxy.edge.playable_cache import PlayableCache
from proxy.edge.playlist_checker import PlaylistChecker
from proxy.edge.playlist_rewriter import PlaylistRewriter
from proxy.edge.relay import RelayState
from proxy.edge.relay_sessions import SessionLimits
from proxy.edge.relayed_playlists import RelayedPlaylists
from proxy.edge.revocations import Revocations
from proxy.edge.shared_access_token import Grant, SharedAccessToken
from proxy.edge.shared_state import SharedState
from proxy.edge.stream_resolver import StreamResolver
from proxy.edge.video_details import VideoDetailsCache
from proxy.settings import Settings
from proxy.settings.platform import PlatformConfig
from proxy.settings.value_checks import MEMORY

MAX_CONCURRENT_DETAILS, MAX_QUEUED_DETAILS = 4, 32  # calls for player pages, apart from plays
# The CDN delays the response to a blocking reload by seconds; waiting costs next to nothing.
MAX_BLOCKING_RELOADS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Dailymotion:
    """The clients of Dailymotion's API and CDN, and the checker of its playlists."""

    http: HttpClient
    tokens: AccessTokenCache
    streams: StreamResolver
    details: VideoDetailsCache
    cdn: Cdn
    playlist_checker: PlaylistChecker
    playlist_rewriter: PlaylistRewriter


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessServices:
    """The services that live as long as the process; a reload of the settings keeps them."""

    telemetry: Telemetry
    state: SharedState
    revocations: Revocations
    first_use: FirstUse
    dailymotion: Dailymotion
    playable_cache: PlayableCache
    issuers: JwksCache
    counters: RateCounters
    relay: RelayState


@asynccontextmanager
async def open_process_services(
    settings: Settings, telemetry: Telemetry, *, is_alone: bool = False
) -> AsyncIterator[ProcessServices]:
    """Open the services that live as long as the process.

    With `is_alone`, state is kept in memory instead of `state.url`: for commands whose result must
    not depend on other instances.
    """
    async with (
        open_state(settings, telemetry, is_alone=is_alone) as (state, revocations),
        open_dailymotion(settings, telemetry, state) as dailymotion,
        open_issuers(settings, telemetry) as issuers,
    ):
        timeout = settings.platform.play_timeout
        playable_cache = PlayableCache(
            *(dailymotion.streams, dailymotion.cdn, dailymotion.playlist_checker),
            *(state, telemetry),
            check_timeout=timeout,
        )
        limits, on_failure = settings.limits, settings.state.first_use_on_failure
        try:
            yield ProcessServices(
                telemetry=telemetry,
                state=state,
                revocations=revocations,
                first_use=FirstUse(state, telemetry.clock, on_failure=on_failure),
                dailymotion=dailymotion,
                playable_cache=playable_cache,
                issuers=issuers,
                counters=RateCounters(),
                relay=RelayState(
                    playlists=RelayedPlaylists(),
                    sessions=SessionLimits(places=limits.concurrency + limits.max_queued),
                    limit=build_limit(settings, telemetry, "playlist"),
                    blocking_limit=ConcurrencyLimit(MAX_BLOCKING_RELOADS, queue=0, max_wait=0),
                ),
            )
        finally:
            await playable_cache.close()


@asynccontextmanager
async def open_state(
    settings: Settings, telemetry: Telemetry, *, is_alone: bool = False
) -> AsyncIterator[tuple[SharedState, Revocations]]:
    """Open the shared state, and read the revocations; if that fails, log a warning."""
    url, config = settings.state.url.get_secret_value(), settings.state
    is_memory = is_alone or url == MEMORY
    store = MemoryStore(telemetry.clock) if is_memory else RedisStore(url, prefix=config.prefix)
    state = SharedState(store, telemetry, timeout=config.timeout)
    proofs = RevocationProofs(settings.platform.api_secret.get_secret_value())
    revocations = Revocations(state, telemetry, config, settings.validity_limit, proofs)
    try:
        await state.open()
        try:
            await revocations.pull()
        except StateError as error:
            telemetry.log.warning("revocations-unknown", detail=error.detail)
            telemetry.health.has_current_revocations = config.revocations_on_failure == "allow"
        yield state, revocations
    finally:
        await state.close()


@asynccontextmanager
async def open_dailymotion(
    settings: Settings, telemetry: Telemetry, state: SharedState
) -> AsyncIterator[Dailymotion]:
    """Open the clients of Dailymotion's API and CDN."""
    platform, clock = settings.platform, telemetry.clock
    hosts = AllowedHosts(platform.allowed_hosts, plain_http=settings.sandbox)
    family = FAMILIES[platform.address_family]
    timeout = platform.play_timeout
    async with (
        open_api_session(platform) as session,
        open_cdn_session(family, private_addresses=settings.sandbox) as playlists,
        open_cdn_session(family, private_addresses=settings.sandbox) as files,
    ):
        http = HttpClient(session, telemetry, attempt_timeout=platform.attempt_timeout)
        grant = build_grant(platform, http, session, telemetry)
        shared = SharedAccessToken(grant, state, platform, clock)
        tokens = AccessTokenCache(shared, telemetry, fetch_timeout=timeout)
        api = V2Api(platform) if platform.api == "v2" else LegacyApi(platform)
        limit = build_limit(settings, telemetry, "video")
        client = ApiClient(http, tokens, limit, telemetry, timeout=timeout)
        egress_ip = parse_address(platform.egress_ip)
        streams = StreamResolver(client, api, hosts, telemetry, egress_ip=egress_ip)
        details_limit = ConcurrencyLimit(
            MAX_CONCURRENT_DETAILS, queue=MAX_QUEUED_DETAILS, max_wait=timeout / 2
        )
        details = VideoDetailsCache(
            ApiClient(http, tokens, details_limit, telemetry, timeout=timeout), api, hosts, clock
        )
        cdn = Cdn(playlists, files, hosts, telemetry, attempt_timeout=platform.attempt_timeout)
        try:
            yield Dailymotion(
                http=http,
                tokens=tokens,
                streams=streams,
                details=details,
                cdn=cdn,
                playlist_checker=PlaylistChecker(telemetry, hosts),
                playlist_rewriter=PlaylistRewriter(telemetry, hosts),
            )
        finally:
            await streams.close()
            await details.close()
            await tokens.close()


@asynccontextmanager
async def open_issuers(settings: Settings, telemetry: Telemetry) -> AsyncIterator[JwksCache]:
    """Open the cache of the issuers' keys; its connections use IPv4 and IPv6."""
    platform = settings.platform
    async with aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(), headers={"User-Agent": "playgate"}
    ) as session:
        http = HttpClient(session, telemetry, attempt_timeout=platform.attempt_timeout)
        fetch = partial(http.fetch_text, "jwks", max_seconds=platform.play_timeout)
        issuers = JwksCache(fetch, telemetry)
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
    """Return the OAuth grant with which the edge gets its access token (`platform.grant`)."""
    if platform.grant != "authorization_code":
        return TokenEndpoint(http, platform, telemetry.clock)
    endpoint = TokenEndpoint(
        build_single_attempt_client(session, telemetry), platform, telemetry.clock
    )
    return RefreshTokenGrant(
        endpoint, RefreshTokenFile(platform.login_file, telemetry.clock), telemetry.clock
    )


def build_single_attempt_client(session: aiohttp.ClientSession, telemetry: Telemetry) -> HttpClient:
    """Return a client that never retries: for codes, refresh tokens and uploads."""
    return HttpClient(session, telemetry, attempt_timeout=TOKEN_TIMEOUT_SECONDS, max_attempts=1)


def build_limit(settings: Settings, telemetry: Telemetry, operation: Operation) -> ConcurrencyLimit:
    """Return the limit of concurrent requests of one operation, and export its metrics."""
    limits, max_wait = settings.limits, settings.platform.play_timeout / 2
    limit = ConcurrencyLimit(limits.concurrency, queue=limits.max_queued, max_wait=max_wait)
    calls = telemetry.metrics.upstream.calls
    calls.labels(operation=operation, state="active").set_function(lambda: limit.inside)
    calls.labels(operation=operation, state="waiting").set_function(lambda: limit.waiting)
    return limit
