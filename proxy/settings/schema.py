"""Every setting, with its type, default and limits. `config/playgate.toml` says why of each."""

from __future__ import annotations

from typing import Annotated

from joserfc.jwk import OctKey
from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from proxy.adapters.dailymotion.endpoints import (
    MANAGING,
    DirectGrant,
    Endpoints,
    Flag,
    Generation,
    Grant,
    endpoints_of,
    kind_of_key,
)
from proxy.domain import video
from proxy.domain.client_ip import PrivateViewers
from proxy.edge.delivery import Family, FamilyMismatch, Mode
from proxy.settings.checks import (
    check_allowed_host,
    check_header_name,
    check_listen,
    check_network,
    check_operator_key,
    check_optional_address,
    check_optional_path,
    check_optional_url,
    check_origin,
    check_path_rule,
    check_pattern,
    check_redirect_uri,
    must_be_set,
)
from proxy.settings.keys import SealSecret, Section, TokenKey

ENV_PREFIX = "PLAYGATE_"


OptionalUrl = Annotated[str, AfterValidator(check_optional_url)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
ListenAddress = Annotated[str, AfterValidator(check_listen)]
NetworkText = Annotated[str, AfterValidator(check_network)]
FieldName = Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]


class Web(Section):
    """The player port."""

    listen: ListenAddress = "127.0.0.1:8080"
    public_url: OptionalUrl = ""
    player_page: bool = False
    embed_origins: tuple[Annotated[str, AfterValidator(check_origin)], ...] = ()
    keepalive_timeout: Seconds = 75
    head_timeout: Seconds = 10
    drain_timeout: Seconds = 10


class Operator(Section):
    """The operator port."""

    listen: ListenAddress = "127.0.0.1:8081"
    key: Annotated[SecretStr, AfterValidator(check_operator_key)] = SecretStr("")


class Viewer(Section):
    """Whose address is locked into a stream."""

    trusted_proxies: tuple[NetworkText, ...] = ("127.0.0.1", "::1")
    forwarded_header: Annotated[str, AfterValidator(check_header_name)] = "X-Forwarded-For"
    private: PrivateViewers = "refuse"


def check_kids(keys: tuple[TokenKey, ...]) -> tuple[TokenKey, ...]:
    """Refuse two keys of one name."""
    if len({key.kid for key in keys}) != len(keys):
        raise ValueError("two keys have the same kid")
    return keys


class Tokens(Section):
    """Which tokens are good."""

    keys: Annotated[
        tuple[TokenKey, ...],
        AfterValidator(check_kids),
        AfterValidator(must_be_set),
        Field(validate_default=True),
    ] = ()
    max_ttl: Annotated[int, Field(gt=0)] = 3600
    default_ttl: Annotated[int, Field(gt=0)] = 300
    leeway: Annotated[int, Field(ge=0, le=60)] = 5
    audience: str = ""
    cookie: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")] = "playgate_token"


class Platform(Section):
    """Dailymotion, and the account that the edge acts for."""

    api: Generation = "legacy"
    grant: Grant = "client_credentials"
    api_key: Annotated[str, AfterValidator(must_be_set), Field(validate_default=True)] = ""
    api_secret: Annotated[SecretStr, AfterValidator(must_be_set), Field(validate_default=True)] = (
        SecretStr("")
    )
    username: str = ""
    password: SecretStr = SecretStr("")
    login_file: Annotated[str, AfterValidator(check_optional_path)] = ""
    redirect_uri: Annotated[str, AfterValidator(check_redirect_uri)] = (
        "http://127.0.0.1:8085/callback"
    )
    scope: str = ""
    token_url: OptionalUrl = ""
    rest_url: OptionalUrl = ""
    authorize_url: OptionalUrl = ""
    no_expire: bool = False
    no_ip_lock: bool = False
    allowed_hosts: tuple[Annotated[str, AfterValidator(check_allowed_host)], ...] = (
        "dailymotion.com",
        "dmcdn.net",
    )
    stream_fields: Annotated[tuple[FieldName, ...], Field(min_length=1)] = (
        "stream_hls_url",
        "stream_live_hls_url",
    )
    address_family: Family = "ipv4"
    egress_ip: Annotated[str, AfterValidator(check_optional_address)] = ""
    cdn_families: Annotated[tuple[Family, ...], Field(min_length=1)] = ("ipv4", "ipv6")
    state_fields: tuple[FieldName, ...] = (
        "mode",
        "onair",
        "status",
        "private",
        "password_protected",
    )
    video_id_pattern: Annotated[str, AfterValidator(check_pattern)] = video.DEFAULT_PATTERN
    attempt_timeout: Seconds = 2
    play_timeout: Seconds = 4

    @property
    def given_up(self) -> tuple[Flag, ...]:
        """What is given up for all stream URLs alike."""
        flags: dict[Flag, bool] = {"no_ip_lock": self.no_ip_lock, "no_expire": self.no_expire}
        return tuple(flag for flag, is_set in flags.items() if is_set)

    @property
    def endpoints(self) -> Endpoints:
        """Where this account's key is known: what is set, and else what its API and grant say."""
        default = endpoints_of(self.api, self.grant)
        return Endpoints(
            token_url=self.token_url or default.token_url,
            rest_url=self.rest_url or default.rest_url,
            authorize_url=self.authorize_url or default.authorize_url,
            scope=self.scope or default.scope,
        )


class DeliveryRule(Section):
    """A mode for the videos whose whole id matches a pattern."""

    videos: Annotated[str, AfterValidator(check_pattern)]
    mode: Mode


class Delivery(Section):
    """How viewers get their stream."""

    mode: Mode = "redirect"
    rules: tuple[DeliveryRule, ...] = ()
    family_mismatch: FamilyMismatch = "pass"
    verdict_ttl: Seconds = 30
    check_media: bool = True


class RelaySection(Section):
    """Playlists and bytes on behalf of viewers."""

    keys: tuple[SealSecret, ...] = ()
    session_max: Annotated[float, Field(gt=0, le=7 * 86_400)] = 21_600
    max_height: Annotated[int, Field(ge=0)] = 0
    max_bandwidth: Annotated[int, Field(ge=0)] = 0


class Auth(Section):
    """What nginx's subrequest may allow."""

    paths: tuple[Annotated[str, AfterValidator(check_path_rule)], ...] = (
        r"/play/(?P<video>[^/]+)\.m3u8",
    )


class Videos(Section):
    """The account that `playgate videos` acts for; the edge itself never uses it."""

    api_key: str = ""
    api_secret: SecretStr = SecretStr("")
    grant: DirectGrant = "client_credentials"
    username: str = ""
    password: SecretStr = SecretStr("")
    channel_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]*$")] = ""
    scope: str = ""
    token_url: OptionalUrl = ""
    rest_url: OptionalUrl = ""

    @property
    def endpoints(self) -> Endpoints:
        """Where this account's key is known, and what it asks for."""
        default = endpoints_of("legacy", self.grant)
        return Endpoints(
            token_url=self.token_url or default.token_url,
            rest_url=self.rest_url or default.rest_url,
            authorize_url="",
            scope=self.scope or MANAGING[kind_of_key(self.grant)],
        )


class Settings(BaseSettings):
    """All of it; an object that exists is valid."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        secrets_nested_delimiter="__",
        secrets_dir_missing="error",
    )

    sandbox: bool = False
    web: Web = Web()
    operator: Operator = Operator()
    viewer: Viewer = Viewer()
    tokens: Tokens
    platform: Platform
    delivery: Delivery = Delivery()
    relay: RelaySection = RelaySection()
    auth: Auth = Auth()
    videos: Videos = Videos()

    @property
    def seal_secrets(self) -> list[bytes]:
        """The secrets that seals are made with, the newest first; the tokens' where none is set."""
        if self.relay.keys:
            return [key.material for key in self.relay.keys]
        jwks = [entry.key.jwk for entry in self.tokens.keys]
        return [jwk.raw_value for jwk in jwks if isinstance(jwk, OctKey)]
