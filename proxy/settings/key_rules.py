"""Rules over the keys: those of tokens, of seals, and those that other issuers publish."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

from joserfc.jwk import OctKey
from pydantic import ValidationError
from yarl import URL

from proxy.domain.tokens.jwks import EMPTY, OwnKey, read_own_set
from proxy.settings import key_file
from proxy.settings.keys import SealSecret, TokensConfig, subject_name
from proxy.settings.listen import is_loopback_host
from proxy.settings.platform import Family, PlatformConfig, VideosConfig
from proxy.settings.raw import is_sandbox, tables_of, text_of, value_of
from proxy.settings.schema import DeliveryConfig, OperatorConfig, RelayConfig
from proxy.settings.section import Section
from proxy.settings.shared_secrets import holder_of, is_published
from proxy.settings.sources import Problem

# Other secrets of the settings, that no relay key may be.
SECRETS: tuple[tuple[str, str, type[Section]], ...] = (
    ("operator", "key", OperatorConfig),
    ("platform", "api_secret", PlatformConfig),
    ("platform", "password", PlatformConfig),
    ("videos", "api_secret", VideosConfig),
    ("videos", "password", VideosConfig),
)


def key_problems(raw: Mapping[str, Any], *, for_edge: bool) -> Iterator[Problem]:
    """Yield what is wrong with the keys; what an edge needs, only `for_edge`."""
    keys, file, issuers = (
        value_of(raw, "tokens", name, TokensConfig) for name in ("keys", "jwks_file", "issuers")
    )
    if for_edge and not (keys or file or issuers):
        yield "tokens.keys", "is not set, and there is no default for it"
    own: tuple[OwnKey, ...] = ()
    with suppress(OSError, ValueError):  # the setting's own check says what is wrong
        text = key_file.read(Path(str(file))) if file else None
        own = read_own_set(EMPTY if text is None else text)
        is_named = for_edge and Path(str(file)).is_absolute()
        name = subject_name(Path(str(file)))
        if is_named and text is None:
            yield (
                "tokens.jwks_file",
                f"{name} does not exist; playgate keys generate creates it",
            )
        elif is_named and not own:
            yield "tokens.jwks_file", f"{name} has no key; playgate keys generate adds one"
    yield from _kid_problems(tables_of(keys), own)
    yield from _shared_secret_problems(raw, tables_of(keys), own)
    secrets = [it.key.jwk.raw_value for it in own if isinstance(it.key.jwk, OctKey)]
    yield from _issuer_problems(raw, issuers)
    if not is_sandbox(raw):
        yield from _published_problems(raw, secrets)
    has_seal_key = is_sandbox(raw) or value_of(raw, "relay", "keys", RelayConfig)
    if for_edge and not has_seal_key and (relaying := _relaying_setting(raw)):
        yield (
            "relay.keys",
            f"is not set, and {relaying} requires relaying; create a key: openssl rand -hex 32",
        )


def _kid_problems(keys: list[dict[str, Any]], own: Iterable[OwnKey]) -> Iterator[Problem]:
    seen = {it.key.kid: "a key in tokens.jwks_file" for it in own}
    for index, key in enumerate(keys):
        kid = key.get("kid")
        if not isinstance(kid, str):
            continue
        if kid in seen:
            yield f"tokens.keys[{index}].kid", f"{kid!r} is also the kid of {seen[kid]}"
        seen.setdefault(kid, f"tokens.keys[{index}]")


def _shared_secret_problems(
    raw: Mapping[str, Any], keys: list[dict[str, Any]], own: Iterable[OwnKey]
) -> Iterator[Problem]:
    """Refuse a relay key that something else uses as well: its holders could seal any URL."""
    signing = [_secret_of(key) or b"" for key in keys if key.get("alg") == "HS256"]
    signing += [it.key.jwk.raw_value for it in own if isinstance(it.key.jwk, OctKey)]
    others = {"the secret of a token key": signing}
    for table, name, section in SECRETS:
        text = text_of(value_of(raw, table, name, section))
        others[f"{table}.{name}"] = [text.encode(errors="surrogateescape")]
    for index, key in enumerate(tables_of(value_of(raw, "relay", "keys", RelayConfig))):
        if (holder := holder_of(_secret_of(key) or b"", others)) is not None:
            yield (
                f"relay.keys[{index}]",
                f"is also {holder}; create another: openssl rand -hex 32",
            )


def _issuer_problems(raw: Mapping[str, Any], issuers: Any) -> Iterator[Problem]:
    for index, entry in enumerate(tables_of(issuers)):
        try:
            url = URL(str(entry.get("jwks_url", "")))
        except ValueError:
            continue
        name = f"tokens.issuers[{index}].jwks_url"
        if is_sandbox(raw) and not is_loopback_host(url.host or ""):
            yield name, "must be on loopback while sandbox = true"
        if not is_sandbox(raw) and url.scheme == "http":
            yield name, "must be https, unless sandbox = true"


def _published_problems(raw: Mapping[str, Any], in_file: list[bytes]) -> Iterator[Problem]:
    if any(map(is_published, in_file)):
        yield "tokens.jwks_file", "has the published sandbox key, which everybody knows"
    for table, section in (("tokens", TokensConfig), ("relay", RelayConfig)):
        for index, key in enumerate(tables_of(value_of(raw, table, "keys", section))):
            if is_published(_secret_of(key) or b""):
                yield (
                    f"{table}.keys[{index}]",
                    "is the published sandbox key, which everybody knows",
                )


def _relaying_setting(raw: Mapping[str, Any]) -> str:
    """Return the first setting that only works with relaying; empty if there is none."""
    if value_of(raw, "delivery", "mode", DeliveryConfig) == "relay":
        return 'delivery.mode = "relay"'
    rules = tables_of(value_of(raw, "delivery", "rules", DeliveryConfig))
    for index, rule in enumerate(rules):
        if rule.get("mode") == "relay":
            return f'delivery.rules[{index}].mode = "relay"'
    families = value_of(raw, "delivery", "cdn_families", DeliveryConfig)
    if isinstance(families, list) and not set(map(str, families)) >= set(get_args(Family)):
        return f"delivery.cdn_families = {json.dumps(families, default=str)}"
    return ""


def _secret_of(raw: Mapping[str, Any]) -> bytes | None:
    """Return the secret of a key as it would be used; None if the key is not valid."""
    try:
        return SealSecret.model_validate(
            {name: value for name, value in raw.items() if name in {"secret", "file"}}
        ).material
    except (ValidationError, ValueError):
        return None
