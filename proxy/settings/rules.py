"""Rules over several settings.

They read the merged sources before validation, so that a file with a wrong type here and plain
http there hears of both at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from yarl import URL

from proxy.domain.client_ip import is_public, parse_address
from proxy.settings.file_modes import writable_problems
from proxy.settings.key_rules import key_problems
from proxy.settings.keys import TokensConfig
from proxy.settings.listen import is_loopback_host, parse_listen
from proxy.settings.platform import PlatformConfig, VideosConfig
from proxy.settings.raw import is_sandbox, text_of, value_of
from proxy.settings.schema import OperatorConfig, WebConfig
from proxy.settings.section import Section
from proxy.settings.shared_secrets import is_published
from proxy.settings.sources import Problem

Place = tuple[str, str, type[Section]]

LISTENERS: tuple[Place, Place] = (
    ("web", "listen", WebConfig),
    ("operator", "listen", OperatorConfig),
)
UPSTREAMS: tuple[Place, ...] = (
    ("platform", "token_url", PlatformConfig),
    ("platform", "rest_url", PlatformConfig),
)
VIDEOS: tuple[Place, ...] = (
    ("videos", "token_url", VideosConfig),
    ("videos", "rest_url", VideosConfig),
)
HTTPS_ONLY: tuple[Place, ...] = (
    *UPSTREAMS,
    ("web", "public_url", WebConfig),
    *VIDEOS,
)
IN_ORDER: tuple[tuple[str, str, str, type[Section]], ...] = (
    ("tokens", "default_ttl", "max_ttl", TokensConfig),
)


# What an edge cannot do without, and no default could stand in for.
NEEDED: tuple[Place, ...] = (
    ("platform", "api_key", PlatformConfig),
    ("platform", "api_secret", PlatformConfig),
)


def problems_between(
    raw: Mapping[str, Any], *, for_edge: bool, file: Path | None = None
) -> Iterator[Problem]:
    """Yield what is wrong between settings; values that are wrong by themselves are passed over.

    Args:
        raw: the merged sources.
        for_edge: whether what an edge needs must be there; managing videos takes less.
        file: the settings file among the sources.
    """
    for table, name, section in NEEDED if for_edge else ():
        value = value_of(raw, table, name, section)
        if not value or value == SecretStr(""):
            is_given = name in (raw.get(table) or {})
            state = "is empty" if is_given else "is not set"
            yield f"{table}.{name}", f"{state}, and there is no default for it"
    yield from _sandbox_problems(raw) if is_sandbox(raw) else _production_problems(raw, file)
    for table, smaller, larger, section in IN_ORDER:
        low, high = value_of(raw, table, smaller, section), value_of(raw, table, larger, section)
        if _is_more(low, high):
            text = f"is {low}, and must not be more than {table}.{larger}, which is {high}"
            yield f"{table}.{smaller}", text
    yield from key_problems(raw, for_edge=for_edge)
    yield from _account_problems(raw)
    yield from _egress_problems(raw)
    web = value_of(raw, "web", "listen", WebConfig)
    operator = value_of(raw, "operator", "listen", OperatorConfig)
    if str(web) == str(operator) and not str(web).endswith(":0"):
        yield "operator.listen", "must differ from web.listen: players must not reach it"


def _sandbox_problems(raw: Mapping[str, Any]) -> Iterator[Problem]:
    for table, name, section in LISTENERS:
        try:
            listen = parse_listen(str(value_of(raw, table, name, section)))
        except ValueError:
            continue
        if not listen.is_loopback:
            yield f"{table}.{name}", "must be on loopback while sandbox = true"
    has_videos = bool(value_of(raw, "videos", "api_key", VideosConfig))
    for table, name, section in (*UPSTREAMS, *(VIDEOS if has_videos else ())):
        if not is_loopback_host(_host(value_of(raw, table, name, section))):
            yield f"{table}.{name}", "must be on loopback while sandbox = true"


def _production_problems(raw: Mapping[str, Any], file: Path | None) -> Iterator[Problem]:
    for table, name, section in HTTPS_ONLY:
        if str(value_of(raw, table, name, section)).strip().lower().startswith("http:"):
            yield f"{table}.{name}", "must be https, unless sandbox = true"
    operator_key = text_of(value_of(raw, "operator", "key", OperatorConfig))
    if is_published(operator_key.encode(errors="surrogateescape")):
        yield "operator.key", "is the published sandbox key, which everybody knows"
    yield from writable_problems(raw, file)


def _account_problems(raw: Mapping[str, Any]) -> Iterator[Problem]:
    grant = value_of(raw, "platform", "grant", PlatformConfig)
    if value_of(raw, "platform", "api", PlatformConfig) == "v2" and grant != "client_credentials":
        yield "platform.grant", "must be client_credentials for API v2, which has private keys only"
    for table, section in (("platform", PlatformConfig), ("videos", VideosConfig)):
        if value_of(raw, table, "grant", section) == "password":
            for name in ("username", "password"):
                if not text_of(value_of(raw, table, name, section)):
                    yield f"{table}.{name}", f'is needed for {table}.grant = "password"'
    if grant == "authorization_code" and not value_of(
        raw, "platform", "login_file", PlatformConfig
    ):
        yield (
            "platform.login_file",
            'is needed for platform.grant = "authorization_code": playgate login keeps it there',
        )
    own = value_of(raw, "videos", "api_key", VideosConfig)
    if own and own == value_of(raw, "platform", "api_key", PlatformConfig):
        yield (
            "videos.api_key",
            "must be another key than the edge's: who takes over the edge could delete videos",
        )
    if own and not text_of(value_of(raw, "videos", "api_secret", VideosConfig)):
        yield "videos.api_secret", "is not set, though videos.api_key is"


def _egress_problems(raw: Mapping[str, Any]) -> Iterator[Problem]:
    address = parse_address(str(value_of(raw, "platform", "egress_ip", PlatformConfig)))
    family = value_of(raw, "platform", "address_family", PlatformConfig)
    if address is None:
        return
    if family in {"ipv4", "ipv6"} and family != f"ipv{address.version}":
        yield "platform.egress_ip", f"must be of platform.address_family, {family}"
    if not is_public(address) and not is_sandbox(raw):
        yield "platform.egress_ip", "must be a public address: it is what the CDN sees"


def _is_more(low: Any, high: Any) -> bool:
    try:
        return float(low) > float(high)
    except (TypeError, ValueError, OverflowError):
        return False


def _host(value: Any) -> str:
    try:
        return URL(str(value)).host or ""
    except ValueError:
        return ""
