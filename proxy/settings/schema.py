"""Every setting, with its type, default and limits; `config/playgate.toml` explains each."""

import re
from functools import cached_property
from math import ceil
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
)

from proxy.domain.client_ip import PrivateViewers
from proxy.domain.revocations import ValidityLimit
from proxy.settings.keys import SealKeyConfig, TokensConfig
from proxy.settings.platform import Family, PlatformConfig, VideosConfig
from proxy.settings.value_checks import (
    MEMORY,
    OneLineSecret,
    Seconds,
    Section,
    check_header_name,
    check_listen,
    check_network,
    check_operator_key,
    check_origin,
    check_path_rule,
    check_pattern,
    check_public_url,
    check_rate,
    check_state_url,
)

ENV_PREFIX = "PLAYGATE_"
SANDBOX_SEAL_SECRET = b"sandbox-relay-key-known-to-everybody"

LogFormat = Literal["auto", "json", "console"]
LogLevel = Literal["info", "warning", "error"]
Mode = Literal["redirect", "validate", "relay"]
OnFailure = Literal["allow", "deny"]  # while the shared state is unreachable


ListenText = Annotated[str, AfterValidator(check_listen)]
NetworkText = Annotated[str, AfterValidator(check_network)]


class WebConfig(Section):
    """The player port, and the pages on it."""

    listen: ListenText = "127.0.0.1:8080"
    public_url: Annotated[str, AfterValidator(check_public_url)] = ""
    player_page: bool = False
    embed_origins: tuple[Annotated[str, AfterValidator(check_origin)], ...] = ()
    keepalive_timeout: Seconds = 75
    drain_timeout: Seconds = 10


class OperatorConfig(Section):
    """The operator port: health, metrics, auth_request, minting and revoking."""

    listen: ListenText = "127.0.0.1:8081"
    key: Annotated[OneLineSecret, AfterValidator(check_operator_key)] = SecretStr("")


class ViewerConfig(Section):
    """How the edge determines the viewer's address, to which Dailymotion locks a stream."""

    trusted_proxies: tuple[NetworkText, ...] = ("127.0.0.1", "::1")
    forwarded_header: Annotated[str, AfterValidator(check_header_name)] = "X-Forwarded-For"
    private: PrivateViewers = "refuse"


class StateConfig(Section):
    """The state that instances share, such as revocations and first uses of tokens."""

    url: Annotated[SecretStr, AfterValidator(check_state_url)] = SecretStr(MEMORY)
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")] = "playgate"
    max_staleness: Annotated[float, Field(ge=0.1, le=60)] = 5
    timeout: Annotated[float, Field(gt=0, le=5)] = 0.05
    first_use_on_failure: OnFailure = "deny"
    revocations_on_failure: OnFailure = "allow"


class LogConfig(Section):
    """Log lines on standard output."""

    format: LogFormat = "auto"
    level: LogLevel = "info"


class DeliveryRule(Section):
    """A delivery mode for the videos whose whole ID matches a pattern."""

    videos: Annotated[str, AfterValidator(check_pattern)]
    mode: Mode

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The pattern that must match a whole video ID."""
        return re.compile(self.videos)


class DeliveryConfig(Section):
    """How the edge delivers streams to viewers."""

    mode: Mode = "redirect"
    rules: tuple[DeliveryRule, ...] = ()
    cdn_families: Annotated[tuple[Family, ...], Field(min_length=1)] = ("ipv4", "ipv6")


class RelayConfig(Section):
    """Relaying of playlists and segments to viewers."""

    keys: tuple[SealKeyConfig, ...] = ()
    session_max: Annotated[float, Field(gt=0, le=7 * 86_400)] = 21_600


RateText = Annotated[str, AfterValidator(check_rate)]


class LimitsConfig(Section):
    """Rate limits and the concurrency limit of each instance."""

    network: RateText = ""
    subject: RateText = ""
    concurrency: Annotated[int, Field(ge=1, le=500)] = 128

    @property
    def max_queued(self) -> int:
        """The number of calls that may wait for a free slot."""
        return 2 * self.concurrency


class AuthConfig(Section):
    """The paths that the auth_request endpoint may allow."""

    protected_paths: tuple[Annotated[str, AfterValidator(check_path_rule)], ...] = (
        r"/play/(?P<video>[^/]+)\.m3u8",
    )

    @cached_property
    def patterns(self) -> tuple[re.Pattern[str], ...]:
        """The patterns of which one must match a whole path."""
        return tuple(map(re.compile, self.protected_paths))


class Settings(Section):
    """All settings."""

    sandbox: bool = False
    web: WebConfig = WebConfig()
    operator: OperatorConfig = OperatorConfig()
    viewer: ViewerConfig = ViewerConfig()
    log: LogConfig = LogConfig()
    tokens: TokensConfig
    state: StateConfig = StateConfig()
    platform: PlatformConfig
    delivery: DeliveryConfig = DeliveryConfig()
    relay: RelayConfig = RelayConfig()
    limits: LimitsConfig = LimitsConfig()
    auth: AuthConfig = AuthConfig()
    videos: VideosConfig = VideosConfig()

    def get_seal_secrets(self) -> list[bytes]:
        """Return the secrets of `relay.keys`; the first one seals.

        The sandbox falls back to a published secret. Token secrets are never used: a holder of
        one issuer's signing key must not be able to seal URLs.
        """
        if self.sandbox and not self.relay.keys:
            return [SANDBOX_SEAL_SECRET]
        return [key.material for key in self.relay.keys]

    @property
    def validity_limit(self) -> ValidityLimit:
        """The longest validity of a token, plus a whole relay session if relaying is enabled.

        A session may start in the token's last second. A revocation must stay in force that long.
        """
        sessions = ceil(self.relay.session_max) if self.get_seal_secrets() else 0
        return ValidityLimit(validity=self.tokens.max_ttl + sessions, leeway=self.tokens.leeway)
