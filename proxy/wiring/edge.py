"""What the edge is made of, as the settings say."""

from __future__ import annotations

import re
from dataclasses import dataclass

from proxy.adapters.clock import Clock
from proxy.domain.access import TokenPolicy
from proxy.domain.client_ip import TrustedProxies, parse_proxies
from proxy.domain.rates import RateCounters, parse_rates
from proxy.domain.seal import SealKeys
from proxy.domain.tokens.keyring import Keyring
from proxy.edge.admission import Admission
from proxy.edge.blocking_playlists import BlockingPlaylists
from proxy.edge.delivery import Delivery, ModeRule
from proxy.edge.first_use import FirstUse
from proxy.edge.gate import Gate
from proxy.edge.growing import Growing
from proxy.edge.issuers import Issuers
from proxy.edge.keys import Keys
from proxy.edge.limits import PlayLimits, Scope
from proxy.edge.minting import Minting
from proxy.edge.relay import Relay
from proxy.edge.session_limits import SessionLimits
from proxy.edge.state import State
from proxy.edge.verdicts import Verdicts
from proxy.settings import Settings
from proxy.settings.digest import digest_of
from proxy.web.services import Services, Viewers
from proxy.wiring.instruments import Instruments
from proxy.wiring.platform import Upstream, build_gate
from proxy.wiring.state import Shared, build_first_use

# Reloads that the CDN holds back for seconds; they cost next to nothing meanwhile.
BLOCKING_AT_ONCE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What lasts as long as the process, whatever becomes of the settings."""

    instruments: Instruments
    upstream: Upstream
    shared: Shared
    verdicts: Verdicts
    issuers: Issuers
    first_use: FirstUse
    counters: RateCounters
    growing: Growing
    blocking: BlockingPlaylists
    sessions: SessionLimits
    relay_gate: Gate
    blocking_gate: Gate


def build_parts(
    settings: Settings,
    instruments: Instruments,
    upstream: Upstream,
    shared: Shared,
    issuers: Issuers,
) -> Parts:
    """Return what lasts."""
    return Parts(
        instruments=instruments,
        upstream=upstream,
        shared=shared,
        verdicts=build_verdicts(settings, upstream, shared.state, instruments),
        issuers=issuers,
        first_use=build_first_use(settings, shared.state, instruments),
        counters=RateCounters(),
        growing=Growing(),
        blocking=BlockingPlaylists(),
        sessions=SessionLimits(places=settings.limits.concurrency + settings.limits.queue),
        relay_gate=build_gate(settings, instruments, "playlist"),
        blocking_gate=Gate(most=BLOCKING_AT_ONCE, queue=0, patience=0),
    )


def build_verdicts(
    settings: Settings, upstream: Upstream, state: State, instruments: Instruments
) -> Verdicts:
    """Return the checks of videos."""
    return Verdicts(
        upstream.streams,
        upstream.cdn,
        upstream.checking,
        state,
        clock=instruments.clock,
        metrics=instruments.metrics,
        log=instruments.log,
        check_timeout=settings.platform.play_timeout,
    )


def build_relay(settings: Settings, parts: Parts) -> Relay:
    """Return the relay."""
    relay, instruments = settings.relay, parts.instruments
    return Relay(
        parts.upstream.streams,
        parts.upstream.cdn,
        parts.upstream.checking,
        SealKeys(settings.seal_secrets()),
        parts.shared.revocations,
        growing=parts.growing,
        blocking=parts.blocking,
        sessions=parts.sessions,
        gate=parts.relay_gate,
        blocking_gate=parts.blocking_gate,
        clock=instruments.clock,
        session_max=relay.session_max,
        leeway=settings.tokens.leeway,
    )


def build_delivery(settings: Settings, parts: Parts, relay: Relay) -> Delivery:
    """Return the way to deliver."""
    delivery = settings.delivery
    return Delivery(
        parts.upstream.streams,
        parts.verdicts,
        relay,
        mode=delivery.mode,
        rules=[ModeRule(re.compile(rule.videos), rule.mode) for rule in delivery.rules],
        cdn_families=delivery.cdn_families,
    )


def build_services(settings: Settings, parts: Parts) -> Services:
    """Return what the handlers work with: all of it anew whenever the settings change."""
    instruments, shared, upstream = parts.instruments, parts.shared, parts.upstream
    clock, relay = instruments.clock, build_relay(settings, parts)
    return Services(
        admission=Admission(
            Keys(
                settings.tokens.keys_at(clock.now()),
                parts.issuers,
                settings.tokens.issuer_videos,
            ),
            build_policy(settings),
            clock,
            revocations=shared.revocations,
            first_use=parts.first_use if settings.tokens.first_use else None,
            limits=build_limits(settings, parts),
        ),
        revocations=shared.revocations,
        issuers=parts.issuers,
        details=upstream.details,
        delivery=build_delivery(settings, parts, relay),
        relay=relay,
        cdn=upstream.cdn,
        minting=build_minting(settings, clock),
        health=instruments.health,
        viewers=Viewers(
            proxies=TrustedProxies(parse_proxies(settings.viewer.trusted_proxies)),
            forwarded_header=settings.viewer.forwarded_header,
            private=settings.viewer.private,
            loopback_viewers=settings.sandbox,
        ),
        metrics=instruments.metrics,
        log=instruments.log,
        token_cookie=settings.tokens.cookie,
        video_id_pattern=re.compile(settings.platform.video_id_pattern),
        auth_paths=tuple(re.compile(path) for path in settings.auth.paths),
        now=clock.now,
        operator_key=settings.operator.key.get_secret_value(),
        page_hosts=settings.platform.allowed_hosts,
        embed_origins=settings.web.embed_origins,
        settings_digest=digest_of(settings),
    )


def build_limits(settings: Settings, parts: Parts) -> PlayLimits:
    """Return how many plays are admitted."""
    limits = settings.limits
    rates: dict[Scope, str] = {"network": limits.network, "subject": limits.subject}
    return PlayLimits(
        {scope: parse_rates(rate) for scope, rate in rates.items()},
        parts.counters,
        parts.instruments.clock,
    )


def build_policy(settings: Settings) -> TokenPolicy:
    """Return what is asked of every token."""
    tokens = settings.tokens
    return TokenPolicy(
        max_ttl=tokens.max_ttl, leeway=tokens.leeway, audience=tokens.audience or None
    )


def build_minting(settings: Settings, clock: Clock) -> Minting:
    """Return the way to make tokens."""
    tokens = settings.tokens
    return Minting(
        Keyring(settings.tokens.keys_at(clock.now())),
        clock,
        audience=tokens.audience or None,
        default_ttl=tokens.default_ttl,
        max_ttl=tokens.max_ttl,
        public_url=settings.web.public_url,
        video_id_pattern=re.compile(settings.platform.video_id_pattern),
        can_relay=bool(settings.seal_secrets()),
    )
