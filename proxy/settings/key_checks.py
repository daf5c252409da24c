"""Check the rules for token keys, seal keys and issuers; compare secrets across encodings."""

import binascii
import json
import re
from base64 import b32decode, urlsafe_b64decode
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import get_args

from joserfc.jwk import OctKey
from pydantic import SecretStr
from yarl import URL

from proxy.domain.tokens.keyring import SigningKey
from proxy.settings.keys import format_file_or_placeholder
from proxy.settings.platform import Family
from proxy.settings.schema import SANDBOX_SEAL_SECRET, Settings
from proxy.settings.sources import Problem
from proxy.settings.value_checks import is_loopback_host

PUBLISHED_KEY_TEXT = "the published sandbox key; create a new key: openssl rand -hex 32"
NOT_LOOPBACK_TEXT = "must be on loopback if sandbox = true; use 127.0.0.1, or set sandbox = false"
NOT_HTTPS_TEXT = "must start with https://, unless sandbox = true"
HMAC_IGNORED_BYTES = b"\x00 \t\r\n"
HMAC_BLOCK_BYTES = 64  # of SHA-256; HMAC replaces longer keys with their hash (RFC 2104, 2)
BASE64 = re.compile(rb"[A-Za-z0-9_-]+")
# Published with the source code, so these secrets are refused outside the sandbox.
PUBLISHED_SECRETS = (
    b"sandbox-signing-key-known-to-everybody",
    b"sandbox-operator-key-known-to-everybody",
    SANDBOX_SEAL_SECRET,
)


def check_keys(settings: Settings, *, for_edge: bool) -> Iterator[Problem]:
    """Yield the errors of keys and issuers; with `for_edge`, also those of missing keys."""
    tokens = settings.tokens
    if for_edge and not (tokens.keys or tokens.jwks_file or tokens.issuers):
        yield "tokens.keys", "is not set, but required; set it, tokens.jwks_file or tokens.issuers"
    if for_edge and tokens.jwks_file and not tokens.own_keys:
        file = Path(tokens.jwks_file)
        problem = "contains no key; run playgate keys generate"
        if not file.exists():
            problem = "does not exist; create it: playgate keys generate"
        yield "tokens.jwks_file", f"{format_file_or_placeholder(file)} {problem}"
    yield from _check_kids(settings)
    yield from _check_shared_secrets(settings)
    yield from _check_issuers(settings)
    if not settings.sandbox:
        yield from _check_published_keys(settings)
    if (
        for_edge
        and not settings.get_seal_secrets()
        and (relaying := _find_relaying_setting(settings))
    ):
        yield (
            "relay.keys",
            f"is not set, but required by {relaying}; create a key: openssl rand -hex 32",
        )


def _check_kids(settings: Settings) -> Iterator[Problem]:
    seen = {own.key.kid: "a key in tokens.jwks_file" for own in settings.tokens.own_keys}
    for index, entry in enumerate(settings.tokens.keys):
        if entry.kid in seen:
            name = f"tokens.keys[{index}].kid"
            yield name, f"{entry.kid!r} is already the kid of {seen[entry.kid]}; choose another"
        seen.setdefault(entry.kid, f"tokens.keys[{index}]")


def _check_shared_secrets(settings: Settings) -> Iterator[Problem]:
    """Refuse a relay key that is also another secret: its holders could seal any URL."""
    platform, videos, tokens = settings.platform, settings.videos, settings.tokens
    signing = [own.key for own in tokens.own_keys] + [entry.signing_key for entry in tokens.keys]
    others = {
        "the secret of a token key": [secret for key in signing if (secret := _get_secret(key))]
    }
    for name, text in {
        "operator.key": settings.operator.key,
        "platform.api_secret": platform.api_secret,
        "platform.password": platform.password,
        "videos.api_secret": videos.api_secret,
        "videos.password": videos.password,
    }.items():
        others[name] = [to_bytes(text)]
    for index, relay_key in enumerate(settings.relay.keys):
        if (holder := find_holder(relay_key.material, others)) is not None:
            problem = f"is also {holder}; create a separate key: openssl rand -hex 32"
            yield f"relay.keys[{index}]", problem


def _check_issuers(settings: Settings) -> Iterator[Problem]:
    for index, entry in enumerate(settings.tokens.issuers):
        url, name = URL(entry.jwks_url), f"tokens.issuers[{index}].jwks_url"
        if settings.sandbox and not is_loopback_host(url.host or ""):
            yield name, NOT_LOOPBACK_TEXT
        if not settings.sandbox and url.scheme == "http":
            yield name, NOT_HTTPS_TEXT


def _check_published_keys(settings: Settings) -> Iterator[Problem]:
    if any(is_published_secret(_get_secret(own.key)) for own in settings.tokens.own_keys):
        yield "tokens.jwks_file", f"contains {PUBLISHED_KEY_TEXT}"
    for index, entry in enumerate(settings.tokens.keys):
        if is_published_secret(_get_secret(entry.signing_key)):
            yield f"tokens.keys[{index}]", f"is {PUBLISHED_KEY_TEXT}"
    for index, key in enumerate(settings.relay.keys):
        if is_published_secret(key.material):
            yield f"relay.keys[{index}]", f"is {PUBLISHED_KEY_TEXT}"


def _find_relaying_setting(settings: Settings) -> str:
    """Return the first setting that requires relaying; empty if no setting requires it."""
    delivery = settings.delivery
    if delivery.mode == "relay":
        return 'delivery.mode = "relay"'
    for index, rule in enumerate(delivery.rules):
        if rule.mode == "relay":
            return f'delivery.rules[{index}].mode = "relay"'
    if not set(delivery.cdn_families) >= set(get_args(Family)):
        return f"delivery.cdn_families = {json.dumps(delivery.cdn_families)}"
    return ""


def _get_secret(key: SigningKey) -> bytes:
    """Return the secret of an HS256 key; empty for public and private keys."""
    return key.jwk.raw_value if isinstance(key.jwk, OctKey) else b""


def to_bytes(secret: SecretStr) -> bytes:
    """Return the bytes of a secret as configured; they need not be UTF-8."""
    return secret.get_secret_value().encode(errors="surrogateescape")


def is_same_secret(one: bytes, other: bytes) -> bool:
    """Check whether two secrets are the same, possibly in different encodings."""
    return not decode_variants(one).isdisjoint(decode_variants(other))


def is_published_secret(secret: bytes) -> bool:
    """Check whether a secret is a published sandbox secret, in any encoding."""
    return any(is_same_secret(secret, published) for published in PUBLISHED_SECRETS)


def find_holder(secret: bytes, others: Mapping[str, Iterable[bytes]]) -> str | None:
    """Return the first name in `others` whose secrets include this secret, or None."""
    holders = (
        name
        for name, secrets in others.items()
        if any(is_same_secret(secret, other) for other in secrets)
    )
    return next(holders, None)


def decode_variants(secret: bytes) -> set[bytes]:
    """Return the secret itself, its decoded forms (hex, base64, base32) and its hash if long."""
    plain = secret.strip(HMAC_IGNORED_BYTES)
    variants = {plain, *_decode_text(plain)}
    if len(secret) > HMAC_BLOCK_BYTES:
        variants.add(sha256(secret).digest())
    return variants - {b""}


def _decode_text(text: bytes) -> Iterable[bytes]:
    bare = text.rstrip(b"=")
    with suppress(binascii.Error):
        yield binascii.unhexlify(bare)
    base64 = bare.replace(b"+", b"-").replace(b"/", b"_")
    if BASE64.fullmatch(base64) is not None and len(base64) % 4 != 1:
        yield urlsafe_b64decode(base64 + b"=" * (-len(base64) % 4))
    with suppress(binascii.Error):
        yield b32decode(bare + b"=" * (-len(bare) % 8), casefold=True)
