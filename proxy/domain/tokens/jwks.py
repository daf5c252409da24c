"""Parse JWK Sets (RFC 7517): the operator's key file, and the sets that issuers publish."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from joserfc.jwk import OctKey

from proxy.domain.tokens.keyring import KeyInvalid, SigningKey, load_jwk

MAX_KEYS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnKey:
    """A key from the operator's own key file.

    Attributes:
        key: the key.
        expires_at: when the key stops verifying tokens, in seconds since 1970; None means never.
    """

    key: SigningKey
    expires_at: int | None

    def is_in_use(self, now: float) -> bool:
        """Check whether the key still verifies tokens."""
        return self.expires_at is None or now < self.expires_at


def read_own_set(text: str) -> tuple[OwnKey, ...]:
    """Parse the operator's key file, in order.

    Raises:
        KeyInvalid: a key is invalid; the message names the key and the cause.
    """
    keys = []
    for index, jwk in enumerate(read_set(text)):
        try:
            keys.append(_read_own_key(jwk))
        except KeyInvalid as error:
            raise KeyInvalid(f"key {index + 1} of the set: {error}") from None
    kids = [own.key.kid for own in keys]
    if duplicates := sorted({kid for kid in kids if kids.count(kid) > 1}):
        raise KeyInvalid(f"two keys of the set have the same kid, {duplicates[0]!r}")
    return tuple(keys)


def _read_own_key(jwk: dict[str, Any]) -> OwnKey:
    expires_at = jwk.get("exp")
    if expires_at is not None and type(expires_at) is not int:
        raise KeyInvalid("its exp is not a whole number of seconds since 1970")
    return OwnKey(key=load_jwk(jwk), expires_at=expires_at)


def read_published_set(text: str, issuer: str) -> tuple[SigningKey, ...]:
    """Parse the JWK Set of an issuer; keys that cannot verify tokens are skipped.

    `oct` keys are skipped too, because a published key is not a secret.

    Raises:
        KeyInvalid: the text is not a JWK Set.
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
    """Return the unparsed keys of a JWK Set.

    Raises:
        KeyInvalid: the text is not a JWK Set, or has more than `MAX_KEYS` keys.
    """
    try:
        keys = json.loads(text)["keys"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise KeyInvalid('it is not a JWK Set, which has the form {"keys": […]}') from None
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise KeyInvalid('it is not a JWK Set, which has the form {"keys": […]}')
    if len(keys) > MAX_KEYS:
        raise KeyInvalid(f"it has more than {MAX_KEYS} keys")
    return keys
