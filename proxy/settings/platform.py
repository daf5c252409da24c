"""Settings of the Dailymotion accounts, with the API endpoints of each kind of API key."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr

from proxy.domain import video
from proxy.settings.value_checks import (
    OneLineSecret,
    OneLineText,
    OptionalPath,
    OptionalUrl,
    Seconds,
    Section,
    check_allowed_host,
    check_optional_address,
    check_pattern,
    check_redirect_uri,
)

Generation = Literal["legacy", "v2"]
DirectGrant = Literal["client_credentials", "password"]  # grants that need no browser
UrlFlag = Literal["no_expire", "no_ip_lock"]  # protections removed from all stream URLs
Grant = DirectGrant | Literal["authorization_code"]
KeyKind = Literal["private", "public"]


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The endpoints for one kind of API key, and the scope that it requests."""

    token_url: str
    rest_url: str
    scope: str


# fmt: off
ENDPOINTS: dict[tuple[Generation, KeyKind], Endpoints] = {
    ("legacy", "private"): Endpoints(
        "https://partner.api.dailymotion.com/oauth/v1/token",
        "https://partner.api.dailymotion.com/rest", "read_video_streams"),
    ("legacy", "public"): Endpoints(
        "https://api.dailymotion.com/oauth/token",
        "https://api.dailymotion.com", "read_video_streams"),
    ("v2", "private"): Endpoints(
        "https://oauth2.dailymotion.com/v2/token",
        "https://api.dailymotion.com/v2", "video.read"),
}
# fmt: on

# Scopes for managing videos.
MANAGING_SCOPES: dict[KeyKind, str] = {
    "private": "read_videos upload_videos edit_videos delete_videos",
    "public": "manage_videos",
}


def get_key_kind(grant: Grant) -> KeyKind:
    """Return the kind of API key for which Dailymotion allows this grant; never both kinds."""
    return "private" if grant == "client_credentials" else "public"


Family = Literal["ipv4", "ipv6"]


class PlatformConfig(Section):
    """Dailymotion's API, and the account that the edge uses."""

    api: Generation = "legacy"
    grant: Grant = "client_credentials"
    api_key: OneLineText = ""
    api_secret: OneLineSecret = SecretStr("")
    username: OneLineText = ""
    password: OneLineSecret = SecretStr("")
    login_file: OptionalPath = ""
    redirect_uri: Annotated[str, AfterValidator(check_redirect_uri)] = (
        "http://127.0.0.1:8085/callback"
    )
    scope: str = ""
    token_url: OptionalUrl = ""
    rest_url: OptionalUrl = ""
    no_expire: bool = False
    no_ip_lock: bool = False
    allowed_hosts: tuple[Annotated[str, AfterValidator(check_allowed_host)], ...] = (
        "dailymotion.com",
        "dmcdn.net",
    )
    address_family: Family = "ipv4"
    egress_ip: Annotated[str, AfterValidator(check_optional_address)] = ""
    video_id_pattern: Annotated[str, AfterValidator(check_pattern)] = video.DEFAULT_PATTERN
    play_timeout: Seconds = 4

    @cached_property
    def video_ids(self) -> re.Pattern[str]:
        """The pattern that must match a whole video ID."""
        return re.compile(self.video_id_pattern)

    @property
    def attempt_timeout(self) -> float:
        """The timeout of one request, in seconds; leaves time for one retry."""
        return self.play_timeout / 2

    @property
    def url_flags(self) -> tuple[UrlFlag, ...]:
        """The protections that the edge removes from all stream URLs."""
        flags: dict[UrlFlag, bool] = {"no_ip_lock": self.no_ip_lock, "no_expire": self.no_expire}
        return tuple(flag for flag, is_set in flags.items() if is_set)

    @property
    def endpoints(self) -> Endpoints:
        """The endpoints and scope that are set; otherwise those for the API and the grant."""
        default = ENDPOINTS[self.api, get_key_kind(self.grant)]
        return Endpoints(
            token_url=self.token_url or default.token_url,
            rest_url=self.rest_url or default.rest_url,
            scope=self.scope or default.scope,
        )


class VideosConfig(Section):
    """The account that `playgate videos` uses; the edge itself never uses it."""

    api_key: OneLineText = ""
    api_secret: OneLineSecret = SecretStr("")
    grant: DirectGrant = "client_credentials"
    username: OneLineText = ""
    password: OneLineSecret = SecretStr("")
    channel_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]*$")] = ""
    scope: str = ""
    token_url: OptionalUrl = ""
    rest_url: OptionalUrl = ""

    @property
    def endpoints(self) -> Endpoints:
        """The endpoints and scope that are set; otherwise those for the grant."""
        default = ENDPOINTS["legacy", get_key_kind(self.grant)]
        return Endpoints(
            token_url=self.token_url or default.token_url,
            rest_url=self.rest_url or default.rest_url,
            scope=self.scope or MANAGING_SCOPES[get_key_kind(self.grant)],
        )
