"""Every setting, with its type, default and limits. `config/playgate.toml` says why of each."""

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
OnFailure = Literal["allow", "deny"]  # what to do while the state does not answer


ListenText = Annotated[str, AfterValidator(check_listen)]
NetworkText = Annotated[str, AfterValidator(check_network)]


class WebConfig(Section):
    """The player port."""

    listen: ListenText = "127.0.0.1:8080"
    public_url: Annotated[str, AfterValidator(check_public_url)] = ""
    player_page: bool = False
    embed_origins: tuple[Annotated[str, AfterValidator(check_origin)], ...] = ()
    keepalive_timeout: Seconds = 75
    drain_timeout: Seconds = 10


class OperatorConfig(Section):
    """The operator port."""

    listen: ListenText = "127.0.0.1:8081"
    key: Annotated[OneLineSecret, AfterValidator(check_operator_key)] = SecretStr("")


class ViewerConfig(Section):
    """Whose address is locked into a stream."""

    trusted_proxies: tuple[NetworkText, ...] = ("127.0.0.1", "::1")
    forwarded_header: Annotated[str, AfterValidator(check_header_name)] = "X-Forwarded-For"
    private: PrivateViewers = "refuse"


class StateConfig(Section):
    """What instances share."""

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
    """A mode for the videos whose whole id matches a pattern."""

    videos: Annotated[str, AfterValidator(check_pattern)]
    mode: Mode

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """What a whole ID is matched against."""
        return re.compile(self.videos)


class DeliveryConfig(Section):
    """How viewers get their stream."""

    mode: Mode = "redirect"
    rules: tuple[DeliveryRule, ...] = ()
    cdn_families: Annotated[tuple[Family, ...], Field(min_length=1)] = ("ipv4", "ipv6")


class RelayConfig(Section):
    """Playlists and bytes on behalf of viewers."""

    keys: tuple[SealKeyConfig, ...] = ()
    session_max: Annotated[float, Field(gt=0, le=7 * 86_400)] = 21_600


RateText = Annotated[str, AfterValidator(check_rate)]


class LimitsConfig(Section):
    """How much is let through, by each instance."""

    network: RateText = ""
    subject: RateText = ""
    concurrency: Annotated[int, Field(ge=1, le=500)] = 128

    @property
    def max_queued(self) -> int:
        """How many more may wait for their turn."""
        return 2 * self.concurrency


class AuthConfig(Section):
    """What nginx's subrequest may allow."""

    protected_paths: tuple[Annotated[str, AfterValidator(check_path_rule)], ...] = (
        r"/play/(?P<video>[^/]+)\.m3u8",
    )

    @cached_property
    def patterns(self) -> tuple[re.Pattern[str], ...]:
        """What a whole path is matched against."""
        return tuple(map(re.compile, self.protected_paths))


class Settings(Section):
    """All of it; an object that exists is valid."""

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
        """Return the secrets of `relay.keys`, the newest first; the sandbox has a published one.

        Never a token's secret: a signer of tokens, for one issuer perhaps, must not seal.
        """
        if self.sandbox and not self.relay.keys:
            return [SANDBOX_SEAL_SECRET]
        return [key.material for key in self.relay.keys]

    @property
    def validity_limit(self) -> ValidityLimit:
        """For how long a token, or what it began in its last second, may be valid."""
        sessions = ceil(self.relay.session_max) if self.get_seal_secrets() else 0
        return ValidityLimit(validity=self.tokens.max_ttl + sessions, leeway=self.tokens.leeway)
