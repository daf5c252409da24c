"""JWK Sets (RFC 7517): our own keys in a file, and those that other issuers publish."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from joserfc.jwk import OctKey

from proxy.domain.tokens.keyring import KeyInvalid, SigningKey, load_jwk

MAX_KEYS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnKey:
    """A key of ours; `expires_at`, in seconds since 1970, is when it verifies no more."""

    key: SigningKey
    expires_at: int | None

    def is_in_use(self, now: float) -> bool:
        """Say whether it is still in use for tokens."""
        return self.expires_at is None or now < self.expires_at


def read_own_set(text: str) -> tuple[OwnKey, ...]:
    """Return the keys of our own file, in order; every one must be good.

    Raises:
        KeyUnusable: it says which key is not, and why.
    """
    keys = []
    for index, jwk in enumerate(read_set(text)):
        try:
            keys.append(_read_own_key(jwk))
        except KeyInvalid as unusable:
            raise KeyInvalid(f"key {index + 1} of the set: {unusable}") from None
    kids = [own.key.kid for own in keys]
    if twice := sorted({kid for kid in kids if kids.count(kid) > 1}):
        raise KeyInvalid(f"two keys of the set have the same kid, {twice[0]!r}")
    return tuple(keys)


def _read_own_key(jwk: dict[str, Any]) -> OwnKey:
    expires_at = jwk.get("exp")
    if expires_at is not None and type(expires_at) is not int:
        raise KeyInvalid("its exp is not a whole number of seconds since 1970")
    return OwnKey(key=load_jwk(jwk), expires_at=expires_at)


def read_published_set(text: str, issuer: str) -> tuple[SigningKey, ...]:
    """Return the keys of an issuer's set that can verify tokens; what else is there is its own.

    A secret that is published is none, so no `oct` key is taken.

    Raises:
        KeyUnusable: it is no JWK Set.
    """
    keys: dict[str, SigningKey] = {}
    for jwk in read_set(text):
        try:
            key = load_jwk(jwk, issuer=issuer)
        except KeyInvalid:
            continue
        if not isinstance(key.jwk, OctKey):
            keys.setdefault(key.kid, key)
    return tuple(keys.values())


def read_set(text: str) -> Sequence[dict[str, Any]]:
    """Return the members of a JWK Set as they stand.

    Raises:
        KeyUnusable: it is none.
    """
    try:
        keys = json.loads(text)["keys"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise KeyInvalid('it is not a JWK Set: {"keys": […]}') from None
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise KeyInvalid('it is not a JWK Set: {"keys": […]}')
    if len(keys) > MAX_KEYS:
        raise KeyInvalid(f"it has more than {MAX_KEYS} keys")
    return keys
