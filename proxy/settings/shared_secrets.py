"""Which secrets are the same key: two spellings of one are no two secrets."""

from __future__ import annotations

import binascii
import re
from base64 import b32decode, urlsafe_b64decode
from collections.abc import Iterable, Mapping
from contextlib import suppress
from hashlib import sha256

from pydantic import SecretStr

from proxy.settings.schema import SANDBOX_SEAL_SECRET

SPACE_AND_PADDING = b"\x00 \t\r\n"
HMAC_BLOCK = 64  # bytes of SHA-256; a longer key counts as its hash (RFC 2104, 2)
BASE64 = re.compile(rb"[A-Za-z0-9_-]+")
# Printed for all to read, so good for nothing outside the sandbox.
PUBLISHED_SECRETS = (
    b"sandbox-signing-key-known-to-everybody",
    b"sandbox-operator-key-known-to-everybody",
    SANDBOX_SEAL_SECRET,
)


def bytes_of(secret: SecretStr) -> bytes:
    """Return the bytes of a secret as it was given, which need not be UTF-8."""
    return secret.get_secret_value().encode(errors="surrogateescape")


def is_same(one: bytes, other: bytes) -> bool:
    """Say whether whoever has one secret has the other: it, or a copy in another encoding."""
    return not readings(one).isdisjoint(readings(other))


def is_published(secret: bytes) -> bool:
    """Say whether a secret is one that everybody knows."""
    return any(is_same(secret, published) for published in PUBLISHED_SECRETS)


def holder_of(secret: bytes, others: Mapping[str, Iterable[bytes]]) -> str | None:
    """Return the first name in `others` that has the secret, too; None if no other has it."""
    holders = (name for name, given in others.items() if any(is_same(secret, it) for it in given))
    return next(holders, None)


def readings(secret: bytes) -> set[bytes]:
    """Return the bytes that a secret may stand for: itself, and what it decodes to."""
    plain = secret.strip(SPACE_AND_PADDING)
    found = {plain, *_decoded(plain)}
    if len(secret) > HMAC_BLOCK:
        found.add(sha256(secret).digest())
    return found - {b""}


def _decoded(text: bytes) -> Iterable[bytes]:
    bare = text.rstrip(b"=")
    with suppress(binascii.Error):
        yield binascii.unhexlify(bare)
    base64 = bare.replace(b"+", b"-").replace(b"/", b"_")
    if BASE64.fullmatch(base64) is not None and len(base64) % 4 != 1:
        yield urlsafe_b64decode(base64 + b"=" * (-len(base64) % 4))
    with suppress(binascii.Error):
        yield b32decode(bare + b"=" * (-len(bare) % 8), casefold=True)
