"""Rules over the keys: those of tokens, of seals, and those that other issuers publish."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from joserfc.jwk import OctKey
from pydantic import ValidationError
from yarl import URL

from proxy.adapters import key_file
from proxy.domain.tokens.jwks import read_own_set
from proxy.settings.keys import SealSecret, Tokens
from proxy.settings.listen import is_loopback_host
from proxy.settings.raw import is_sandbox, tables_of, value_of
from proxy.settings.schema import Delivery, RelaySection

Problem = tuple[str, str]  # the key, and what is wrong with it

# Printed in config/sandbox.toml for all to read, so good for nothing outside the sandbox.
PUBLISHED_SECRETS = frozenset(
    {"sandbox-signing-key-known-to-everybody", "sandbox-operator-key-known-to-everybody"}
)


def key_problems(raw: Mapping[str, Any], *, for_edge: bool) -> Iterator[Problem]:
    """Yield what is wrong with the keys; what an edge needs, only `for_edge`."""
    keys, file, issuers = (
        value_of(raw, "tokens", name, Tokens) for name in ("keys", "jwks_file", "issuers")
    )
    if for_edge and not (keys or file or issuers):
        yield "tokens.keys", "is not set, and there is no default for it"
    if for_edge and file and _is_missing(Path(str(file))):
        yield "tokens.jwks_file", "there is no such file; playgate keys generate makes it"
    elif for_edge and file and _is_empty(Path(str(file))):
        yield "tokens.jwks_file", "has no key; playgate keys generate makes one"
    yield from _issuer_problems(raw, issuers)
    if not is_sandbox(raw):
        yield from _published_problems(raw)
    if _relays(raw) and not value_of(raw, "relay", "keys", RelaySection) and not _has_secret(raw):
        yield (
            "relay.keys",
            (
                "is not set, and no key of tokens has a secret to stand in; "
                "the relay needs one: openssl rand -hex 32"
            ),
        )


def _is_missing(file: Path) -> bool:
    try:
        return not file.exists()
    except OSError:
        return False  # reading it says what is wrong


def _is_empty(file: Path) -> bool:
    with suppress(OSError, ValueError):  # reading it says what is wrong
        return not read_own_set(key_file.read(file) or "")
    return False


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


def _published_problems(raw: Mapping[str, Any]) -> Iterator[Problem]:
    if not PUBLISHED_SECRETS.isdisjoint(it.decode(errors="replace") for it in _file_secrets(raw)):
        yield "tokens.jwks_file", "has the published sandbox key, which everybody knows"
    for table, section in (("tokens", Tokens), ("relay", RelaySection)):
        for index, key in enumerate(tables_of(value_of(raw, table, "keys", section))):
            if _is_published(key):
                yield (
                    f"{table}.keys[{index}]",
                    "is the published sandbox key, which everybody knows",
                )


def _relays(raw: Mapping[str, Any]) -> bool:
    rules = value_of(raw, "delivery", "rules", Delivery)
    modes = [rule.get("mode") for rule in tables_of(rules)]
    mismatch = value_of(raw, "delivery", "family_mismatch", Delivery)
    return "relay" in [value_of(raw, "delivery", "mode", Delivery), mismatch, *modes]


def _has_secret(raw: Mapping[str, Any]) -> bool:
    keys = value_of(raw, "tokens", "keys", Tokens)
    return any(key.get("alg") == "HS256" for key in tables_of(keys)) or bool(_file_secrets(raw))


def _file_secrets(raw: Mapping[str, Any]) -> list[bytes]:
    """Return the secrets in tokens.jwks_file; what is wrong with it, it says by itself."""
    file = value_of(raw, "tokens", "jwks_file", Tokens)
    with suppress(OSError, ValueError):  # KeyUnusable is one
        text = key_file.read(Path(str(file))) if file else None
        jwks = [own.key.jwk for own in read_own_set(text or "")]
        return [jwk.raw_value for jwk in jwks if isinstance(jwk, OctKey)]
    return []


def _is_published(raw: Any) -> bool:
    """Say of a key, as it would be used, whether it is the sandbox's."""
    try:
        secret = SealSecret.model_validate(
            {name: value for name, value in dict(raw).items() if name in {"secret", "file"}}
        )
    except (ValidationError, TypeError, ValueError):
        return False
    return secret.material.decode(errors="replace") in PUBLISHED_SECRETS
