"""The keys that may have signed a token. The key fixes the algorithm, never the token."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from proxy.domain.reasons import Reason, Refusal

Algorithm = Literal["HS256", "ES256", "RS256", "Ed25519"]
ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)

# The primitives alone: form and header of a token are read by us, once (compact.py).
MODELS = {name: JWSRegistry(algorithms=[name]).get_alg(name) for name in ALGORITHMS}

# RFC 9864 gave Ed25519 its own name; libraries older than that write "EdDSA" (RFC 8037).
OLDER_NAMES = {"EdDSA": "Ed25519"}

MIN_SECRET_BYTES = 32  # RFC 7518, 3.2: as long as the hash
MIN_RSA_BITS = 2048  # RFC 7518, 3.3

Jwk = OctKey | ECKey | RSAKey | OKPKey


class KeyUnusable(ValueError):
    """A key that cannot be used; the message never contains any of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key with the one algorithm it is for, and the issuer it belongs to, if any."""

    kid: str
    algorithm: Algorithm
    jwk: Jwk
    issuer: str | None = None

    @property
    def can_sign(self) -> bool:
        """Say whether the private part is here."""
        return isinstance(self.jwk, OctKey) or self.jwk.is_private

    def verifies(self, signing_input: bytes, signature: bytes) -> bool:
        """Say whether this key made the signature."""
        return MODELS[self.algorithm].verify(signing_input, signature, self.jwk)


def load_key(*, kid: str, algorithm: Algorithm, material: str, issuer: str | None = None) -> Key:
    """Return a key made of its text: a secret for HS256, PEM for the others.

    Raises:
        KeyUnusable: it is too short, of another kind, or no key at all.
    """
    jwk = _load_secret(material) if algorithm == "HS256" else _load_pem(algorithm, material)
    return Key(kid=kid, algorithm=algorithm, jwk=jwk, issuer=issuer)


class Keyring:
    """Every key in use, the signing one first."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self.keys = tuple(keys)
        self._by_kid = {key.kid: key for key in self.keys}

    def find(self, kid: str | None) -> Key:
        """Return the key that a token names; a token without `kid` means the only key there is."""
        if kid is None and len(self.keys) == 1:
            return self.keys[0]
        if kid is None:
            raise Refusal(
                Reason.TOKEN_KEY_UNKNOWN, f"no kid, and {len(self.keys)} keys to choose from"
            )
        if (key := self._by_kid.get(kid)) is None:
            raise Refusal(Reason.TOKEN_KEY_UNKNOWN, "no key in tokens.keys has the token's kid")
        return key

    def signing_key(self) -> Key | None:
        """Return the first key that can sign."""
        return next((key for key in self.keys if key.can_sign), None)


def _load_secret(secret: str) -> OctKey:
    if secret.startswith("-----BEGIN"):
        raise KeyUnusable("its secret is a PEM key, and HS256 takes random bytes")
    if len(secret.encode()) < MIN_SECRET_BYTES:
        raise KeyUnusable(f"its secret is shorter than {MIN_SECRET_BYTES} bytes")
    return OctKey.import_key(secret.encode())


def _load_pem(algorithm: Algorithm, pem: str) -> Jwk:
    kinds: dict[Algorithm, Any] = {"ES256": ECKey, "RS256": RSAKey, "Ed25519": OKPKey}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", SecurityWarning)  # joserfc only warns of a short key
            jwk: Jwk = kinds[algorithm].import_key(pem)
        MODELS[algorithm].check_key(jwk)
    except SecurityWarning:
        raise KeyUnusable(f"its RSA key has fewer than {MIN_RSA_BITS} bits") from None
    except (JoseError, ValueError, TypeError):
        raise KeyUnusable(f"it is not a PEM key for {algorithm}") from None
    return jwk
