"""Rules for token keys, seal keys and issuers; and whether two secrets are the same key."""

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
from proxy.settings.keys import format_file_subject
from proxy.settings.platform import Family
from proxy.settings.schema import SANDBOX_SEAL_SECRET, Settings
from proxy.settings.sources import Problem
from proxy.settings.value_checks import is_loopback_host

PUBLISHED_KEY_TEXT = "the published sandbox key, which everybody knows"
HMAC_IGNORED_BYTES = b"\x00 \t\r\n"
HMAC_BLOCK_BYTES = 64  # bytes of SHA-256; a longer key counts as its hash (RFC 2104, 2)
BASE64 = re.compile(rb"[A-Za-z0-9_-]+")
# Printed for all to read, so good for nothing outside the sandbox.
PUBLISHED_SECRETS = (
    b"sandbox-signing-key-known-to-everybody",
    b"sandbox-operator-key-known-to-everybody",
    SANDBOX_SEAL_SECRET,
)


def check_keys(settings: Settings, *, for_edge: bool) -> Iterator[Problem]:
    """Yield what is wrong with the keys; what an edge needs, only `for_edge`."""
    tokens = settings.tokens
    if for_edge and not (tokens.keys or tokens.jwks_file or tokens.issuers):
        yield "tokens.keys", "is not set, and there is no default for it"
    if for_edge and tokens.jwks_file and not tokens.own_keys:
        file = Path(tokens.jwks_file)
        does = "has no key; playgate keys generate adds one"
        if not file.exists():
            does = "does not exist; playgate keys generate creates it"
        yield "tokens.jwks_file", f"{format_file_subject(file)} {does}"
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
            f"is not set, and {relaying} requires relaying; create a key: openssl rand -hex 32",
        )


def _check_kids(settings: Settings) -> Iterator[Problem]:
    seen = {own.key.kid: "a key in tokens.jwks_file" for own in settings.tokens.own_keys}
    for index, entry in enumerate(settings.tokens.keys):
        if entry.kid in seen:
            name = f"tokens.keys[{index}].kid"
            yield name, f"{entry.kid!r} is also the kid of {seen[entry.kid]}"
        seen.setdefault(entry.kid, f"tokens.keys[{index}]")


def _check_shared_secrets(settings: Settings) -> Iterator[Problem]:
    """Refuse a relay key that something else uses as well: its holders could seal any URL."""
    platform, videos, tokens = settings.platform, settings.videos, settings.tokens
    signing = [own.key for own in tokens.own_keys] + [entry.signing_key for entry in tokens.keys]
    others = {
        "the secret of a token key": [secret for key in signing if (secret := _get_secret(key))]
    }
    for name, held in {
        "operator.key": settings.operator.key,
        "platform.api_secret": platform.api_secret,
        "platform.password": platform.password,
        "videos.api_secret": videos.api_secret,
        "videos.password": videos.password,
    }.items():
        others[name] = [to_bytes(held)]
    for index, key in enumerate(settings.relay.keys):
        if (holder := find_holder(key.material, others)) is not None:
            text = f"is also {holder}; create another: openssl rand -hex 32"
            yield f"relay.keys[{index}]", text


def _check_issuers(settings: Settings) -> Iterator[Problem]:
    for index, entry in enumerate(settings.tokens.issuers):
        url, name = URL(entry.jwks_url), f"tokens.issuers[{index}].jwks_url"
        if settings.sandbox and not is_loopback_host(url.host or ""):
            yield name, "must be on loopback while sandbox = true"
        if not settings.sandbox and url.scheme == "http":
            yield name, "must be https, unless sandbox = true"


def _check_published_keys(settings: Settings) -> Iterator[Problem]:
    if any(is_published_secret(_get_secret(own.key)) for own in settings.tokens.own_keys):
        yield "tokens.jwks_file", f"has {PUBLISHED_KEY_TEXT}"
    for index, entry in enumerate(settings.tokens.keys):
        if is_published_secret(_get_secret(entry.signing_key)):
            yield f"tokens.keys[{index}]", f"is {PUBLISHED_KEY_TEXT}"
    for index, key in enumerate(settings.relay.keys):
        if is_published_secret(key.material):
            yield f"relay.keys[{index}]", f"is {PUBLISHED_KEY_TEXT}"


def _find_relaying_setting(settings: Settings) -> str:
    """Return the first setting that only works with relaying; empty if there is none."""
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
    """Return the secret of an HS256 key; empty for others."""
    return key.jwk.raw_value if isinstance(key.jwk, OctKey) else b""


def to_bytes(secret: SecretStr) -> bytes:
    """Return the bytes of a secret as it was given, which need not be UTF-8."""
    return secret.get_secret_value().encode(errors="surrogateescape")


def is_same_secret(one: bytes, other: bytes) -> bool:
    """Say whether whoever has one secret has the other: it, or a copy in another encoding."""
    return not decode_variants(one).isdisjoint(decode_variants(other))


def is_published_secret(secret: bytes) -> bool:
    """Say whether a secret is one that everybody knows."""
    return any(is_same_secret(secret, published) for published in PUBLISHED_SECRETS)


def find_holder(secret: bytes, others: Mapping[str, Iterable[bytes]]) -> str | None:
    """Return the first name in `others` that has the secret, too; None if no other has it."""
    holders = (
        name for name, given in others.items() if any(is_same_secret(secret, it) for it in given)
    )
    return next(holders, None)


def decode_variants(secret: bytes) -> set[bytes]:
    """Return the bytes that a secret may stand for: itself, and what it decodes to."""
    plain = secret.strip(HMAC_IGNORED_BYTES)
    found = {plain, *_decode_variants(plain)}
    if len(secret) > HMAC_BLOCK_BYTES:
        found.add(sha256(secret).digest())
    return found - {b""}


def _decode_variants(text: bytes) -> Iterable[bytes]:
    bare = text.rstrip(b"=")
    with suppress(binascii.Error):
        yield binascii.unhexlify(bare)
    base64 = bare.replace(b"+", b"-").replace(b"/", b"_")
    if BASE64.fullmatch(base64) is not None and len(base64) % 4 != 1:
        yield urlsafe_b64decode(base64 + b"=" * (-len(base64) % 4))
    with suppress(binascii.Error):
        yield b32decode(bare + b"=" * (-len(bare) % 8), casefold=True)
