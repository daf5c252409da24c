"""Rules over several settings.

They read the merged sources before validation, so that a file with a wrong type here and plain
http there hears of both at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from joserfc.jwk import OctKey
from pydantic import TypeAdapter, ValidationError
from yarl import URL

from proxy.settings.listen import is_loopback_host, parse_listen
from proxy.settings.schema import Operator, Platform, Section, TokenKey, Tokens, Web

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
HTTPS_ONLY: tuple[Place, ...] = (*UPSTREAMS, ("web", "public_url", Web))
IN_ORDER: tuple[tuple[str, str, str, type[Section]], ...] = (
    ("tokens", "default_ttl", "max_ttl", Tokens),
    ("platform", "attempt_timeout", "play_timeout", Platform),
)


def problems_between(raw: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what is wrong between settings; values that are wrong by themselves are passed over."""
    yield from _sandbox_problems(raw) if _is_sandbox(raw) else _production_problems(raw)
    for table, smaller, larger, section in IN_ORDER:
        low, high = _value(raw, table, smaller, section), _value(raw, table, larger, section)
        if _is_more(low, high):
            yield f"{table}.{smaller}", f"must not be more than {table}.{larger}"
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
    for table, name, section in UPSTREAMS:
        if not is_loopback_host(_host(_value(raw, table, name, section))):
            yield f"{table}.{name}", "must be on loopback while sandbox = true"


def _production_problems(raw: Mapping[str, Any]) -> Iterator[Problem]:
    for table, name, section in HTTPS_ONLY:
        if str(_value(raw, table, name, section)).strip().lower().startswith("http:"):
            yield f"{table}.{name}", "must be https, unless sandbox = true"
    if str(_value(raw, "operator", "key", Operator)).strip() in PUBLISHED_SECRETS:
        yield "operator.key", "is the published sandbox key, which everybody knows"
    keys = _value(raw, "tokens", "keys", Tokens)
    for index, key in enumerate(keys if isinstance(keys, list) else []):
        if _is_published(key):
            yield f"tokens.keys[{index}]", "is the published sandbox key, which everybody knows"


def _is_sandbox(raw: Mapping[str, Any]) -> bool:
    try:
        return TypeAdapter(bool).validate_python(raw.get("sandbox", False))
    except ValidationError:
        return False


def _is_published(raw: Any) -> bool:
    """Say of a key, as it would be used, whether it is the sandbox's."""
    try:
        jwk = TokenKey.model_validate(raw).key.jwk
    except ValidationError:
        return False
    return isinstance(jwk, OctKey) and jwk.raw_value.decode(errors="replace") in PUBLISHED_SECRETS


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
