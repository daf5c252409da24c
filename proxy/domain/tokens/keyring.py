"""The keys that may have signed a token. The key fixes the algorithm, never the token."""

import json
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry, serialize_compact

from proxy.domain.reasons import Reason, Refusal
from proxy.domain.tokens.compact import MAX_KID_LENGTH

Algorithm = Literal["HS256", "ES256", "RS256", "Ed25519"]
ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)

# The primitives alone: form and header of a token are read by us, once (compact.py).
JWS_REGISTRY = JWSRegistry(algorithms=list(ALGORITHMS))
ALGORITHM_MODELS = {name: JWS_REGISTRY.get_alg(name) for name in ALGORITHMS}

# RFC 9864 gave Ed25519 its own name; libraries older than that write "EdDSA" (RFC 8037).
OLDER_NAMES = {"EdDSA": "Ed25519"}

KID = re.compile(rf"[\x21-\x7e]{{1,{MAX_KID_LENGTH}}}", re.ASCII)
MAX_MEMBER_LENGTH = 1400  # characters: RSA of 8,192 bits takes 1,366
PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi"})
RSA_PRIMES = frozenset({"p", "q"})

MIN_SECRET_BYTES = 32  # RFC 7518, 3.2: as long as the hash
TOO_SHORT = f"its secret is shorter than {MIN_SECRET_BYTES} bytes"
MIN_RSA_BITS = 2048  # RFC 7518, 3.3
MAX_RSA_EXPONENT = 2**32  # usual is 65537; one as long as the modulus takes 100 times as long

Jwk = OctKey | ECKey | RSAKey | OKPKey
JWK_CLASSES: dict[Algorithm, Any] = {
    "HS256": OctKey,
    "ES256": ECKey,
    "RS256": RSAKey,
    "Ed25519": OKPKey,
}
# By kty and crv: the algorithm, and which members make the key (RFC 7518, 6; RFC 8037, 2).
JWK_KINDS: dict[tuple[str, str | None], tuple[Algorithm, tuple[str, ...]]] = {
    ("oct", None): ("HS256", ("k",)),
    ("EC", "P-256"): ("ES256", ("x", "y", "d")),
    ("RSA", None): ("RS256", ("n", "e", "d", "p", "q", "dp", "dq", "qi")),
    ("OKP", "Ed25519"): ("Ed25519", ("x", "d")),
}


# The y of the eight points of small order on edwards25519, and those of p more that mean the same.
FIELD_PRIME = 2**255 - 19
ORDER_8_Y = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
SMALL_ORDER_POINTS = frozenset(
    y.to_bytes(32, "little")
    for y in (
        0,
        1,
        FIELD_PRIME - 1,
        FIELD_PRIME,
        FIELD_PRIME + 1,
        ORDER_8_Y,
        FIELD_PRIME - ORDER_8_Y,
    )
)


class KeyInvalid(ValueError):
    """A key that cannot be used; the message never contains any of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """One key with the one algorithm it is for.

    Attributes:
        kid: its name.
        algorithm: the one that it verifies.
        jwk: the key itself.
        issuer: whose it is, and the only `iss` that it may sign; None for the operator's own.
        videos: what it may sign tokens for, matched against whole video IDs; None for all.
    """

    kid: str
    algorithm: Algorithm
    jwk: Jwk
    issuer: str | None = None
    videos: re.Pattern[str] | None = None

    @property
    def can_sign(self) -> bool:
        """Say whether the private part is here."""
        return isinstance(self.jwk, OctKey) or self.jwk.is_private

    def verify_signature(self, signing_input: bytes, signature: bytes) -> bool:
        """Say whether this key made the signature."""
        return ALGORITHM_MODELS[self.algorithm].verify(signing_input, signature, self.jwk)

    def sign(self, claims: Mapping[str, object]) -> str:
        """Return a token with these claims, those that are None left out."""
        header = {"alg": self.algorithm, "kid": self.kid, "typ": "JWT"}
        said = {name: value for name, value in claims.items() if value is not None}
        payload = json.dumps(said, separators=(",", ":"))
        return serialize_compact(header, payload, self.jwk, registry=JWS_REGISTRY)


def load_key(
    *,
    kid: str,
    algorithm: Algorithm,
    material: str,
    issuer: str | None = None,
    videos: re.Pattern[str] | None = None,
) -> SigningKey:
    """Return a key made of its text: a secret for HS256, PEM for the others.

    Raises:
        KeyUnusable: it is too short, of another kind, or no key at all.
    """
    jwk = _load_secret(material) if algorithm == "HS256" else _load_pem(algorithm, material)
    return SigningKey(kid=kid, algorithm=algorithm, jwk=jwk, issuer=issuer, videos=videos)


class Keyring:
    """Every key in use, the signing one first; and those of issuers that publish their own.

    An issuer's keys are for its own tokens alone, and its tokens for its keys: two of them may well
    call different keys by one name.
    """

    def __init__(
        self,
        keys: Iterable[SigningKey],
        published: Mapping[str, Iterable[SigningKey]] | None = None,
        videos: Mapping[str, re.Pattern[str]] | None = None,
    ) -> None:
        """Take our own keys, those that issuers publish, and for which videos those may sign."""
        limits = videos or {}
        self.keys = tuple(keys)
        self._own = {key.kid: key for key in self.keys}
        self._published = {
            issuer: {key.kid: replace(key, videos=limits.get(issuer)) for key in theirs}
            for issuer, theirs in (published or {}).items()
        }

    def find(self, kid: str | None, issuer: str | None = None) -> SigningKey:
        """Return the key that a token names; a token without `kid` means the only key there is.

        Nobody has verified its `iss` yet.
        """
        published = None if issuer is None else self._published.get(issuer)
        keys = self._own if published is None else published
        whose = (
            "tokens.keys and tokens.jwks_file" if published is None else "what its issuer publishes"
        )
        if kid is None and len(keys) == 1:
            return next(iter(keys.values()))
        if kid is None:
            raise Refusal(Reason.TOKEN_KEY_UNKNOWN, f"no kid, and {len(keys)} keys in {whose}")
        if (key := keys.get(kid)) is None:
            raise Refusal(Reason.TOKEN_KEY_UNKNOWN, f"no key in {whose} has the token's kid")
        return key

    def signing_key(self) -> SigningKey | None:
        """Return the first key that can sign."""
        return next((key for key in self.keys if key.can_sign), None)


def load_jwk(jwk: Mapping[str, Any], *, issuer: str | None = None) -> SigningKey:
    """Return a key made of a JSON Web Key (RFC 7517); what it does not need, it does not read.

    Raises:
        KeyUnusable: it is for something else, of a kind that is not known here, or broken.
    """
    kid, kind = jwk.get("kid"), (jwk.get("kty"), jwk.get("crv"))
    if not isinstance(kid, str) or KID.fullmatch(kid) is None:
        raise KeyInvalid(f"its kid is not a text of 1 to {MAX_KID_LENGTH} visible characters")
    if (known := JWK_KINDS.get((str(kind[0]), kind[1] and str(kind[1])))) is None:
        raise KeyInvalid("its kty and crv are not those of HS256, ES256, RS256 or Ed25519")
    algorithm, members = known
    named = jwk.get("alg", algorithm)
    if OLDER_NAMES.get(str(named), named) != algorithm:
        raise KeyInvalid(f"its alg is not {algorithm}, which its kty is for")
    operations = jwk.get("key_ops", ["verify"])
    is_for_signatures = isinstance(operations, list) and not {"sign", "verify"}.isdisjoint(
        map(str, operations)
    )
    if jwk.get("use", "sig") != "sig" or not is_for_signatures:
        raise KeyInvalid("it is not for signatures")
    unread = PRIVATE_MEMBERS if issuer is not None else frozenset()  # what is published is public
    material = {
        name: jwk[name] for name in ("kty", "crv", *members) if name in jwk and name not in unread
    }
    if not all(
        isinstance(text, str) and len(text) <= MAX_MEMBER_LENGTH for text in material.values()
    ):
        raise KeyInvalid(f"its members are not texts of at most {MAX_MEMBER_LENGTH} characters")
    if algorithm == "RS256" and "d" in material and not material.keys() >= RSA_PRIMES:
        raise KeyInvalid("its private key has no p and q, and to find them takes minutes")
    made = _load_checked(algorithm, lambda: JWK_CLASSES[algorithm].import_key(material))
    if isinstance(made, OctKey) and len(made.raw_value) < MIN_SECRET_BYTES:
        raise KeyInvalid(TOO_SHORT)
    return SigningKey(kid=kid, algorithm=algorithm, jwk=made, issuer=issuer)


def _load_secret(secret: str) -> OctKey:
    if secret.startswith("-----BEGIN"):
        raise KeyInvalid("its secret is a PEM key, and HS256 takes random bytes")
    if len(secret.encode()) < MIN_SECRET_BYTES:
        raise KeyInvalid(TOO_SHORT)
    return OctKey.import_key(secret.encode())


def _load_pem(algorithm: Algorithm, pem: str) -> Jwk:
    return _load_checked(
        algorithm, lambda: JWK_CLASSES[algorithm].import_key(pem), form="a PEM key (-----BEGIN …)"
    )


def _read_exponent(jwk: RSAKey) -> int:
    return jwk.public_key.public_numbers().e


def _is_small_order(jwk: OKPKey) -> bool:
    """Say whether a point is of order 1, 2, 4 or 8: signatures of anything verify with it."""
    point = bytearray(jwk.public_key.public_bytes_raw())
    point[-1] &= 0x7F  # the sign of x, which matters for none of them
    return bytes(point) in SMALL_ORDER_POINTS


def _load_checked(algorithm: Algorithm, load: Callable[[], Jwk], *, form: str = "a JWK") -> Jwk:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", SecurityWarning)  # joserfc only warns of a short key
            jwk = load()
        ALGORITHM_MODELS[algorithm].check_key(jwk)
        if isinstance(jwk, OKPKey) and _is_small_order(jwk):
            raise KeyInvalid("its Ed25519 point has a small order, so anybody can sign for it")
        if isinstance(jwk, RSAKey) and _read_exponent(jwk) > MAX_RSA_EXPONENT:
            raise KeyInvalid("its RSA exponent has more than 32 bits; use 65537")
    except SecurityWarning:
        too_short = f"its RSA key has fewer than {MIN_RSA_BITS} bits"
        raise KeyInvalid(TOO_SHORT if algorithm == "HS256" else too_short) from None
    except (JoseError, ValueError, TypeError):
        raise KeyInvalid(f"it is not {form} for {algorithm}") from None
    return jwk
