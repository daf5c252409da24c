"""What is made of which settings."""

from __future__ import annotations

import re
from dataclasses import dataclass

import aiohttp

from proxy.adapters.clock import Clock
from proxy.adapters.dailymotion.cdn import Cdn
from proxy.adapters.dailymotion.exchange import Exchange
from proxy.adapters.dailymotion.legacy import Account, LegacyApi
from proxy.adapters.logs import Logger
from proxy.adapters.metrics import Metrics
from proxy.domain.access import TokenPolicy
from proxy.domain.client_ip import TrustedProxies, parse_address, parse_networks
from proxy.domain.playlist.variants import Limits
from proxy.domain.seal import SealKeys
from proxy.domain.tokens.keyring import Keyring
from proxy.edge.access_tokens import AccessTokens
from proxy.edge.admission import Admission
from proxy.edge.checking import Checking
from proxy.edge.delivery import Delivery, ModeRule
from proxy.edge.health import Health
from proxy.edge.minting import Minting
from proxy.edge.relay import Relay
from proxy.edge.streams import Streams
from proxy.edge.verdicts import Verdicts
from proxy.settings import Settings
from proxy.web.services import Services, Viewers

# A low-latency playlist is held back for a part, or at worst for three segments (RFC 8216bis,
# 6.2.5.2); nginx waits a little longer (deploy/nginx.conf).
BLOCKING_SECONDS = 25.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruments:
    """What every part is given: the time, and where to say what happens."""

    clock: Clock
    log: Logger
    metrics: Metrics
    health: Health


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """Dailymotion as the edge sees it: its API, its CDN, and what is done with playlists."""

    access_tokens: AccessTokens
    streams: Streams
    cdn: Cdn
    checking: Checking


def build_instruments(log: Logger, clock: Clock) -> Instruments:
    """Return what one edge, or one command, measures with."""
    metrics = Metrics()
    return Instruments(clock=clock, log=log, metrics=metrics, health=Health(clock, metrics, log))


def build_access_tokens(
    settings: Settings, api: LegacyApi, instruments: Instruments
) -> AccessTokens:
    """Return the keeper of the account's access token."""
    return AccessTokens(
        api,
        clock=instruments.clock,
        metrics=instruments.metrics,
        health=instruments.health,
        log=instruments.log,
        fetch_timeout=settings.platform.play_timeout,
    )


def build_streams(
    settings: Settings, api: LegacyApi, access_tokens: AccessTokens, instruments: Instruments
) -> Streams:
    """Return the way to stream URLs."""
    platform = settings.platform
    return Streams(
        api,
        access_tokens,
        clock=instruments.clock,
        health=instruments.health,
        allowed_hosts=platform.allowed_hosts,
        plain_http=settings.sandbox,
        play_timeout=platform.play_timeout,
        egress_ip=parse_address(platform.egress_ip),
    )


def build_verdicts(settings: Settings, upstream: Upstream, instruments: Instruments) -> Verdicts:
    """Return the checks of videos."""
    return Verdicts(
        upstream.streams,
        upstream.cdn,
        upstream.checking,
        clock=instruments.clock,
        metrics=instruments.metrics,
        log=instruments.log,
        ttl=settings.delivery.verdict_ttl,
        check_media=settings.delivery.check_media,
        check_timeout=settings.platform.play_timeout,
    )


def build_api(
    settings: Settings, session: aiohttp.ClientSession, instruments: Instruments
) -> LegacyApi:
    """Return the way to Dailymotion."""
    platform = settings.platform
    return LegacyApi(
        Exchange(
            session,
            instruments.metrics,
            instruments.clock,
            attempt_timeout=platform.attempt_timeout,
        ),
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


def build_relay(settings: Settings, upstream: Upstream, clock: Clock) -> Relay:
    """Return the relay."""
    relay = settings.relay
    return Relay(
        upstream.streams,
        upstream.cdn,
        upstream.checking,
        SealKeys(settings.seal_secrets),
        clock=clock,
        session_max=relay.session_max,
        limits=Limits(
            max_height=relay.max_height or None, max_bandwidth=relay.max_bandwidth or None
        ),
    )


def build_delivery(
    settings: Settings, streams: Streams, verdicts: Verdicts, relay: Relay
) -> Delivery:
    """Return the way to deliver."""
    delivery = settings.delivery
    return Delivery(
        streams,
        verdicts,
        relay,
        mode=delivery.mode,
        rules=[ModeRule(re.compile(rule.videos), rule.mode) for rule in delivery.rules],
        family_mismatch=delivery.family_mismatch,
        cdn_families=settings.platform.cdn_families,
    )


def build_services(
    settings: Settings, instruments: Instruments, *, delivery: Delivery, relay: Relay, cdn: Cdn
) -> Services:
    """Return what the handlers work with."""
    keyring = build_keyring(settings)
    return Services(
        admission=Admission(keyring, build_policy(settings), instruments.clock),
        delivery=delivery,
        relay=relay,
        cdn=cdn,
        minting=build_minting(settings, keyring, instruments.clock),
        health=instruments.health,
        viewers=Viewers(
            proxies=TrustedProxies(networks=parse_networks(settings.viewer.trusted_proxies)),
            forwarded_header=settings.viewer.forwarded_header,
            private=settings.viewer.private,
            loopback_viewers=settings.sandbox,
        ),
        metrics=instruments.metrics,
        log=instruments.log,
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
        can_relay=bool(settings.seal_secrets),
    )
