"""Rules over several settings.

They read the merged sources before validation, so that a file with a wrong type here and plain
http there hears of both at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import SecretStr, TypeAdapter, ValidationError
from yarl import URL

from proxy.domain.client_ip import is_public, parse_address
from proxy.settings.keys import SealSecret, Section
from proxy.settings.listen import is_loopback_host, parse_listen
from proxy.settings.platform import Platform, Videos
from proxy.settings.schema import Delivery, Operator, RelaySection, Tokens, Web

# Printed in config/sandbox.toml for all to read, so good for nothing outside the sandbox.
PUBLISHED_SECRETS = frozenset(
    {"sandbox-signing-key-known-to-everybody", "sandbox-operator-key-known-to-everybody"}
)

Problem = tuple[str, str]  # the key, and what is wrong with it

Place = tuple[str, str, type[Section]]

LISTENERS: tuple[Place, Place] = (
    ("web", "listen", Web),
    ("operator", "listen", Operator),
)
UPSTREAMS: tuple[Place, ...] = (
    ("platform", "token_url", Platform),
    ("platform", "rest_url", Platform),
)
VIDEOS: tuple[Place, ...] = (("videos", "token_url", Videos), ("videos", "rest_url", Videos))
AUTHORIZE: Place = ("platform", "authorize_url", Platform)  # of one grant only
HTTPS_ONLY: tuple[Place, ...] = (
    *UPSTREAMS,
    AUTHORIZE,
    ("web", "public_url", Web),
    *VIDEOS,
)
IN_ORDER: tuple[tuple[str, str, str, type[Section]], ...] = (
    ("tokens", "default_ttl", "max_ttl", Tokens),
    ("platform", "attempt_timeout", "play_timeout", Platform),
)


# What an edge cannot do without, and no default could stand in for.
NEEDED: tuple[Place, ...] = (
    ("platform", "api_key", Platform),
    ("platform", "api_secret", Platform),
    ("tokens", "keys", Tokens),
)
PLACEHOLDER = "…"  # of the README


def problems_between(raw: Mapping[str, Any], *, for_edge: bool) -> Iterator[Problem]:
    """Yield what is wrong between settings; values that are wrong by themselves are passed over.

    Args:
        raw: the merged sources.
        for_edge: whether what an edge needs must be there; managing videos takes less.
    """
    for table, name, section in NEEDED if for_edge else ():
        value = _value(raw, table, name, section)
        if not value or value == SecretStr("") or value == PLACEHOLDER:
            yield f"{table}.{name}", "is not set, and there is no default for it"
    yield from _sandbox_problems(raw) if _is_sandbox(raw) else _production_problems(raw)
    for table, smaller, larger, section in IN_ORDER:
        low, high = _value(raw, table, smaller, section), _value(raw, table, larger, section)
        if _is_more(low, high):
            yield f"{table}.{smaller}", f"must not be more than {table}.{larger}"
    if _relays(raw) and not _value(raw, "relay", "keys", RelaySection) and not _has_secret(raw):
        yield (
            "relay.keys",
            (
                "is not set, and no key in tokens.keys has a secret to stand in; "
                "the relay needs one: openssl rand -hex 32"
            ),
        )
    yield from _account_problems(raw)
    yield from _egress_problems(raw)
    web = _value(raw, "web", "listen", Web)
    operator = _value(raw, "operator", "listen", Operator)
    if str(web) == str(operator) and not str(web).endswith(":0"):
        yield "operator.listen", "must differ from web.listen: players must not reach it"


def _sandbox_problems(raw: Mapping[str, Any]) -> Iterator[Problem]:
    for table, name, section in LISTENERS:
        try:
            listen = parse_listen(str(_value(raw, table, name, section)))
        except ValueError:
            continue
        if not listen.is_loopback:
            yield f"{table}.{name}", "must be on loopback while sandbox = true"
    has_login = _value(raw, "platform", "grant", Platform) == "authorization_code"
    has_videos = bool(_value(raw, "videos", "api_key", Videos))
    for table, name, section in (
        *UPSTREAMS,
        *([AUTHORIZE] if has_login else []),
        *(VIDEOS if has_videos else ()),
    ):
        if not is_loopback_host(_host(_value(raw, table, name, section))):
            yield f"{table}.{name}", "must be on loopback while sandbox = true"


def _production_problems(raw: Mapping[str, Any]) -> Iterator[Problem]:
    for table, name, section in HTTPS_ONLY:
        if str(_value(raw, table, name, section)).strip().lower().startswith("http:"):
            yield f"{table}.{name}", "must be https, unless sandbox = true"
    if str(_value(raw, "operator", "key", Operator)).strip() in PUBLISHED_SECRETS:
        yield "operator.key", "is the published sandbox key, which everybody knows"
    for table, section in (("tokens", Tokens), ("relay", RelaySection)):
        keys = _value(raw, table, "keys", section)
        for index, key in enumerate(keys if isinstance(keys, list) else []):
            if _is_published(key):
                yield (
                    f"{table}.keys[{index}]",
                    "is the published sandbox key, which everybody knows",
                )


def _account_problems(raw: Mapping[str, Any]) -> Iterator[Problem]:
    grant = _value(raw, "platform", "grant", Platform)
    if _value(raw, "platform", "api", Platform) == "v2" and grant != "client_credentials":
        yield "platform.grant", "must be client_credentials for API v2, which has private keys only"
    for table, section in (("platform", Platform), ("videos", Videos)):
        if _value(raw, table, "grant", section) == "password":
            for name in ("username", "password"):
                if not _text(_value(raw, table, name, section)):
                    yield f"{table}.{name}", f'is needed for {table}.grant = "password"'
    if grant == "authorization_code" and not _value(raw, "platform", "login_file", Platform):
        yield (
            "platform.login_file",
            'is needed for platform.grant = "authorization_code": playgate login keeps it there',
        )
    own = _value(raw, "videos", "api_key", Videos)
    if own and own == _value(raw, "platform", "api_key", Platform):
        yield (
            "videos.api_key",
            "must be another key than the edge's: who takes over the edge could delete videos",
        )
    if own and not _text(_value(raw, "videos", "api_secret", Videos)):
        yield "videos.api_secret", "is not set, though videos.api_key is"


def _text(value: Any) -> str:
    text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
    return "" if text == PLACEHOLDER else text


def _egress_problems(raw: Mapping[str, Any]) -> Iterator[Problem]:
    address = parse_address(str(_value(raw, "platform", "egress_ip", Platform)))
    family = _value(raw, "platform", "address_family", Platform)
    if address is None:
        return
    if family in {"ipv4", "ipv6"} and family != f"ipv{address.version}":
        yield "platform.egress_ip", f"must be of platform.address_family, {family}"
    if not is_public(address) and not _is_sandbox(raw):
        yield "platform.egress_ip", "must be a public address: it is what the CDN sees"


def _relays(raw: Mapping[str, Any]) -> bool:
    rules = _value(raw, "delivery", "rules", Delivery)
    modes = [rule.get("mode") for rule in _tables(rules)]
    mismatch = _value(raw, "delivery", "family_mismatch", Delivery)
    return "relay" in [_value(raw, "delivery", "mode", Delivery), mismatch, *modes]


def _has_secret(raw: Mapping[str, Any]) -> bool:
    keys = _value(raw, "tokens", "keys", Tokens)
    return any(key.get("alg") == "HS256" for key in _tables(keys))


def _tables(value: Any) -> list[dict[str, Any]]:
    return [it for it in value if isinstance(it, dict)] if isinstance(value, list) else []


def _is_sandbox(raw: Mapping[str, Any]) -> bool:
    try:
        return TypeAdapter(bool).validate_python(raw.get("sandbox", False))
    except ValidationError:
        return False


def _is_published(raw: Any) -> bool:
    """Say of a key, as it would be used, whether it is the sandbox's."""
    try:
        secret = SealSecret.model_validate(
            {name: value for name, value in dict(raw).items() if name in {"secret", "file"}}
        )
    except (ValidationError, TypeError, ValueError):
        return False
    return secret.material.decode(errors="replace") in PUBLISHED_SECRETS


def _value(raw: Mapping[str, Any], table: str, name: str, section: type[Section]) -> Any:
    values = raw.get(table)
    given = values.get(name) if isinstance(values, dict) else None
    return section.model_fields[name].default if given is None else given


def _is_more(low: Any, high: Any) -> bool:
    try:
        return float(low) > float(high)
    except (TypeError, ValueError):
        return False


def _host(value: Any) -> str:
    try:
        return URL(str(value)).host or ""
    except ValueError:
        return ""
