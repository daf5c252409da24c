"""The way to Dailymotion, as the settings say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import aiohttp

from proxy.adapters.clock import Clock
from proxy.adapters.dailymotion.cdn import Cdn
from proxy.adapters.dailymotion.endpoints import kind_of_key
from proxy.adapters.dailymotion.exchange import Exchange, Operation
from proxy.adapters.dailymotion.legacy import LegacyApi
from proxy.adapters.dailymotion.logins import LoginFile
from proxy.adapters.dailymotion.oauth import Client, SettingsGrant, TokenEndpoint
from proxy.adapters.dailymotion.renewals import PATIENCE, StoredLogin
from proxy.adapters.dailymotion.v2 import V2Api
from proxy.domain.client_ip import parse_address
from proxy.edge.access_tokens import AccessTokens
from proxy.edge.calls import Calls
from proxy.edge.checking import Checking
from proxy.edge.fleet_token import FleetToken, Grant
from proxy.edge.gate import Gate
from proxy.edge.state import State
from proxy.edge.streams import Streams
from proxy.edge.video_details import VideoDetails
from proxy.settings import Settings
from proxy.settings.platform import Platform, Videos
from proxy.wiring.instruments import Instruments

# A low-latency playlist is held back for a part, or at worst for three segments (RFC 8216bis,
# 6.2.5.2); nginx waits a little longer (deploy/nginx.conf).
BLOCKING_SECONDS = 25.0

DETAILS_AT_ONCE, DETAILS_WAITING = 4, 32  # calls for player pages; plays have their own

LEASE_MARGIN = 1.0  # seconds beyond the time that a fetch of the access token may take


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """Dailymotion as the edge sees it: its API, its CDN, and what is done with playlists."""

    exchange: Exchange
    access_tokens: AccessTokens
    streams: Streams
    details: VideoDetails
    cdn: Cdn
    checking: Checking


def build_exchange(
    settings: Settings, session: aiohttp.ClientSession, instruments: Instruments
) -> Exchange:
    """Return the way to Dailymotion's hosts."""
    return Exchange(
        session,
        instruments.metrics,
        instruments.clock,
        attempt_timeout=settings.platform.attempt_timeout,
    )


def build_patient_exchange(session: aiohttp.ClientSession, instruments: Instruments) -> Exchange:
    """Return the way for what is asked once and waited for: codes, refresh tokens, management."""
    return Exchange(
        session, instruments.metrics, instruments.clock, attempt_timeout=PATIENCE, attempts=1
    )


def build_token_endpoint(account: Platform | Videos, exchange: Exchange) -> TokenEndpoint:
    """Return where an account's API key is given access tokens."""
    client = Client(
        api_key=account.api_key,
        api_secret=account.api_secret.get_secret_value(),
        scope=account.endpoints.scope,
        kind=kind_of_key(account.grant),
    )
    return TokenEndpoint(exchange, account.endpoints.token_url, client)


def build_settings_grant(account: Platform | Videos, exchange: Exchange) -> SettingsGrant:
    """Return the way to an access token for which the settings are enough."""
    form = {}
    if account.grant == "password":
        form = {"username": account.username, "password": account.password.get_secret_value()}
    return SettingsGrant(build_token_endpoint(account, exchange), account.grant, form)


def build_grant(
    settings: Settings, session: aiohttp.ClientSession, instruments: Instruments
) -> Grant:
    """Return the way to the edge's own access token."""
    platform = settings.platform
    if platform.grant != "authorization_code":
        return build_settings_grant(platform, build_exchange(settings, session, instruments))
    endpoint = build_token_endpoint(platform, build_patient_exchange(session, instruments))
    return StoredLogin(endpoint, build_login_file(settings, instruments.clock), instruments.clock)


def build_login_file(settings: Settings, clock: Clock) -> LoginFile:
    """Return the file that `playgate login` writes."""
    return LoginFile(Path(settings.platform.login_file), clock)


def build_access_tokens(
    settings: Settings, grant: Grant, state: State, instruments: Instruments
) -> AccessTokens:
    """Return the keeper of the account's access token."""
    platform = settings.platform
    known_at = platform.endpoints
    account = [platform.grant, platform.api_key, platform.username]
    fleet = FleetToken(
        grant,
        state,
        instruments.clock,
        account="\n".join([*account, known_at.token_url, known_at.scope]),
        secret=platform.api_secret.get_secret_value(),
        lease=platform.play_timeout + LEASE_MARGIN,
    )
    return AccessTokens(
        fleet,
        clock=instruments.clock,
        metrics=instruments.metrics,
        health=instruments.health,
        log=instruments.log,
        fetch_timeout=settings.platform.play_timeout,
    )


def build_api(settings: Settings, exchange: Exchange) -> LegacyApi | V2Api:
    """Return the API of the generation that is set."""
    platform = settings.platform
    if platform.api == "v2":
        return V2Api(exchange, platform.endpoints.rest_url, flags=platform.given_up)
    return LegacyApi(exchange, platform.endpoints.rest_url, flags=platform.given_up)


def build_streams(
    settings: Settings,
    api: LegacyApi | V2Api,
    access_tokens: AccessTokens,
    instruments: Instruments,
) -> Streams:
    """Return the way to stream URLs."""
    platform = settings.platform
    return Streams(
        api,
        build_calls(
            settings, access_tokens, build_gate(settings, instruments, "video"), instruments
        ),
        clock=instruments.clock,
        metrics=instruments.metrics,
        allowed_hosts=platform.allowed_hosts,
        plain_http=settings.sandbox,
        hls_fields=platform.stream_fields,
        egress_ip=parse_address(platform.egress_ip),
    )


def build_calls(
    settings: Settings, access_tokens: AccessTokens, gate: Gate, instruments: Instruments
) -> Calls:
    """Return the way to make API calls, as many at once as a gate lets through."""
    return Calls(
        access_tokens,
        gate,
        clock=instruments.clock,
        health=instruments.health,
        timeout=settings.platform.play_timeout,
    )


def build_details(
    settings: Settings,
    api: LegacyApi | V2Api,
    access_tokens: AccessTokens,
    instruments: Instruments,
) -> VideoDetails:
    """Return the way to what the player page shows."""
    platform = settings.platform
    gate = Gate(most=DETAILS_AT_ONCE, queue=DETAILS_WAITING, patience=platform.play_timeout / 2)
    return VideoDetails(
        api if isinstance(api, LegacyApi) else None,
        build_calls(settings, access_tokens, gate, instruments),
        clock=instruments.clock,
        allowed_hosts=platform.allowed_hosts,
        plain_http=settings.sandbox,
    )


def build_gate(settings: Settings, instruments: Instruments, operation: Operation) -> Gate:
    """Return what keeps an overload from becoming everybody's."""
    gate = Gate(
        most=settings.limits.concurrency,
        queue=settings.limits.queue,
        patience=settings.platform.play_timeout / 2,
    )
    calls = instruments.metrics.upstream_calls
    calls.labels(operation=operation, state="active").set_function(lambda: gate.inside)
    calls.labels(operation=operation, state="waiting").set_function(lambda: gate.waiting)
    return gate


def build_cdn(
    settings: Settings,
    playlists: aiohttp.ClientSession,
    files: aiohttp.ClientSession,
    instruments: Instruments,
) -> Cdn:
    """Return the way to Dailymotion's CDN."""
    return Cdn(
        playlists,
        files,
        instruments.metrics,
        instruments.clock,
        allowed_hosts=settings.platform.allowed_hosts,
        plain_http=settings.sandbox,
        attempt_timeout=settings.platform.attempt_timeout,
        blocking_timeout=BLOCKING_SECONDS,
    )
