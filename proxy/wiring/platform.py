"""The way to Dailymotion, as the settings say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import aiohttp

from proxy.adapters.clock import Clock
from proxy.adapters.dailymotion.cdn import Cdn
from proxy.adapters.dailymotion.endpoints import kind_of_key
from proxy.adapters.dailymotion.exchange import Exchange
from proxy.adapters.dailymotion.legacy import LegacyApi
from proxy.adapters.dailymotion.logins import LoginFile
from proxy.adapters.dailymotion.oauth import Client, SettingsGrant, StoredLogin, TokenEndpoint
from proxy.adapters.dailymotion.v2 import V2Api
from proxy.domain.client_ip import parse_address
from proxy.edge.access_tokens import AccessTokens, Grant
from proxy.edge.calls import Calls
from proxy.edge.checking import Checking
from proxy.edge.streams import Api, Streams
from proxy.settings import Settings
from proxy.wiring.instruments import Instruments

# A low-latency playlist is held back for a part, or at worst for three segments (RFC 8216bis,
# 6.2.5.2); nginx waits a little longer (deploy/nginx.conf).
BLOCKING_SECONDS = 25.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """Dailymotion as the edge sees it: its API, its CDN, and what is done with playlists."""

    access_tokens: AccessTokens
    streams: Streams
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


def build_token_endpoint(settings: Settings, exchange: Exchange) -> TokenEndpoint:
    """Return where the edge's API key is given access tokens."""
    platform = settings.platform
    client = Client(
        api_key=platform.api_key,
        api_secret=platform.api_secret.get_secret_value(),
        scope=platform.endpoints.scope,
        kind=kind_of_key(platform.grant),
    )
    return TokenEndpoint(exchange, platform.endpoints.token_url, client)


def build_grant(settings: Settings, exchange: Exchange, clock: Clock) -> Grant:
    """Return the way to the edge's own access token."""
    platform, endpoint = settings.platform, build_token_endpoint(settings, exchange)
    if platform.grant == "authorization_code":
        return StoredLogin(endpoint, build_login_file(settings, clock))
    form = {}
    if platform.grant == "password":
        form = {"username": platform.username, "password": platform.password.get_secret_value()}
    return SettingsGrant(endpoint, platform.grant, form)


def build_login_file(settings: Settings, clock: Clock) -> LoginFile:
    """Return the file that `playgate login` writes."""
    return LoginFile(Path(settings.platform.login_file), clock)


def build_access_tokens(settings: Settings, grant: Grant, instruments: Instruments) -> AccessTokens:
    """Return the keeper of the account's access token."""
    return AccessTokens(
        grant,
        clock=instruments.clock,
        metrics=instruments.metrics,
        health=instruments.health,
        log=instruments.log,
        fetch_timeout=settings.platform.play_timeout,
    )


def build_api(settings: Settings, exchange: Exchange) -> Api:
    """Return the API of the generation that is set."""
    platform = settings.platform
    if platform.api == "v2":
        return V2Api(exchange, platform.endpoints.rest_url, flags=platform.given_up)
    return LegacyApi(
        exchange,
        platform.endpoints.rest_url,
        state_fields=platform.state_fields,
        flags=platform.given_up,
    )


def build_streams(
    settings: Settings, api: Api, access_tokens: AccessTokens, instruments: Instruments
) -> Streams:
    """Return the way to stream URLs."""
    platform = settings.platform
    return Streams(
        api,
        Calls(
            access_tokens,
            clock=instruments.clock,
            health=instruments.health,
            timeout=platform.play_timeout,
        ),
        clock=instruments.clock,
        allowed_hosts=platform.allowed_hosts,
        plain_http=settings.sandbox,
        hls_fields=platform.stream_fields,
        egress_ip=parse_address(platform.egress_ip),
    )


def build_cdn(settings: Settings, session: aiohttp.ClientSession, instruments: Instruments) -> Cdn:
    """Return the way to Dailymotion's CDN."""
    return Cdn(
        session,
        instruments.metrics,
        instruments.clock,
        allowed_hosts=settings.platform.allowed_hosts,
        plain_http=settings.sandbox,
        attempt_timeout=settings.platform.attempt_timeout,
        blocking_timeout=BLOCKING_SECONDS,
    )
