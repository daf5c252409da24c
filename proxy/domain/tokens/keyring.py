"""The keys that verify and sign tokens.

The key determines the algorithm of the signature; the `alg` of a token never does.
"""

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

# Only for the signature algorithms; compact.py parses the form and the header of tokens.
JWS_REGISTRY = JWSRegistry(algorithms=list(ALGORITHMS))
ALGORITHM_MODELS = {name: JWS_REGISTRY.get_alg(name) for name in ALGORITHMS}

# RFC 9864 introduced the name Ed25519; older libraries write "EdDSA" (RFC 8037).
OLDER_NAMES = {"EdDSA": "Ed25519"}

KID = re.compile(rf"[\x21-\x7e]{{1,{MAX_KID_LENGTH}}}", re.ASCII)
MAX_MEMBER_LENGTH = 1400  # characters; an RSA key of 8,192 bits takes 1,366
PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi"})
RSA_PRIMES = frozenset({"p", "q"})

MIN_SECRET_BYTES = 32  # RFC 7518, 3.2: at least as long as the hash
SECRET_TOO_SHORT = f"its secret has less than {MIN_SECRET_BYTES} bytes: use openssl rand -hex 32"
MIN_RSA_BITS = 2048  # RFC 7518, 3.3
# Usual is 65537; verifying takes 100 times as long if the exponent is as long as the modulus.
MAX_RSA_EXPONENT = 2**32

Jwk = OctKey | ECKey | RSAKey | OKPKey
JWK_CLASSES: dict[Algorithm, Any] = {
    "HS256": OctKey,
    "ES256": ECKey,
    "RS256": RSAKey,
    "Ed25519": OKPKey,
}
# By kty and crv: the algorithm, and the members that form the key (RFC 7518, 6; RFC 8037, 2).
JWK_KINDS: dict[tuple[str, str | None], tuple[Algorithm, tuple[str, ...]]] = {
    ("oct", None): ("HS256", ("k",)),
    ("EC", "P-256"): ("ES256", ("x", "y", "d")),
    ("RSA", None): ("RS256", ("n", "e", "d", "p", "q", "dp", "dq", "qi")),
    ("OKP", "Ed25519"): ("Ed25519", ("x", "d")),
}

# The encoded y coordinates of the eight points of small order on edwards25519, including the
# non-canonical encodings y + p of the same points.
PRIME = 2**255 - 19
ORDER_8_Y = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
SMALL_ORDER_Y = (0, 1, PRIME - 1, PRIME, PRIME + 1, ORDER_8_Y, PRIME - ORDER_8_Y)
SMALL_ORDER_POINTS = frozenset(y.to_bytes(32, "little") for y in SMALL_ORDER_Y)


class KeyInvalid(ValueError):
    """A key is not usable; the message never contains key material."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A key for exactly one algorithm.

    Attributes:
        kid: the name of the key, which tokens refer to.
        algorithm: the only algorithm that the key verifies and signs with.
        jwk: the key material.
        issuer: the owner of the key, and the only `iss` of its tokens; None for the operator's own
            keys.
        videos: matches the whole ID of each video that the key may sign for; None means all videos.
    """

    kid: str
    algorithm: Algorithm
    jwk: Jwk
    issuer: str | None = None
    videos: re.Pattern[str] | None = None

    @property
    def can_sign(self) -> bool:
        """Whether the key has a private part or is a secret, so that it can sign."""
        return isinstance(self.jwk, OctKey) or self.jwk.is_private

    def verify_signature(self, signing_input: bytes, signature: bytes) -> bool:
        """Check whether this key created the signature."""
        return ALGORITHM_MODELS[self.algorithm].verify(signing_input, signature, self.jwk)

    def sign(self, claims: Mapping[str, object]) -> str:
        """Sign a token with these claims; claims that are None are left out."""
        header = {"alg": self.algorithm, "kid": self.kid, "typ": "JWT"}
        members = {name: value for name, value in claims.items() if value is not None}
        payload = json.dumps(members, separators=(",", ":"))
        return serialize_compact(header, payload, self.jwk, registry=JWS_REGISTRY)


def load_key(
    *,
    kid: str,
    algorithm: Algorithm,
    material: str,
    issuer: str | None = None,
    videos: re.Pattern[str] | None = None,
) -> SigningKey:
    """Load a key from text: a secret for HS256, PEM for the other algorithms.

    Raises:
        KeyInvalid: the text is too short, for another algorithm, or not a key.
    """
    jwk = _load_secret(material) if algorithm == "HS256" else _load_pem(algorithm, material)
    return SigningKey(kid=kid, algorithm=algorithm, jwk=jwk, issuer=issuer, videos=videos)


class Keyring:
    """All keys in use: the operator's own, signing key first, and the keys that issuers publish.

    A published key verifies only tokens of its issuer, and tokens of that issuer are verified only
    with its keys: two issuers may use the same `kid` for different keys.
    """

    def __init__(
        self,
        keys: Iterable[SigningKey],
        published: Mapping[str, Iterable[SigningKey]] | None = None,
        videos: Mapping[str, re.Pattern[str]] | None = None,
    ) -> None:
        """Combine the operator's keys with published keys and allowed video IDs, both by issuer."""
        patterns = videos or {}
        self.keys = tuple(keys)
        self._own = {key.kid: key for key in self.keys}
        self._published = {
            issuer: {key.kid: replace(key, videos=patterns.get(issuer)) for key in issuer_keys}
            for issuer, issuer_keys in (published or {}).items()
        }

    def find(self, kid: str | None, issuer: str | None = None) -> SigningKey:
        """Return the key with the `kid` of a token; without `kid`, the only key in use.

        `issuer` is the token's unverified `iss`, which selects the issuer's published keys.

        Raises:
            Refusal: `token-key-unknown`.
        """
        published = None if issuer is None else self._published.get(issuer)
        keys = self._own if published is None else published
        source = "tokens.keys and tokens.jwks_file" if published is None else "the issuer's JWK Set"
        if kid is None and len(keys) == 1:
            return next(iter(keys.values()))
        if kid is None:
            raise Refusal(
                Reason.TOKEN_KEY_UNKNOWN,
                f"the token has no kid, which requires a single key; {source} has {len(keys)}",
            )
        if (key := keys.get(kid)) is None:
            raise Refusal(Reason.TOKEN_KEY_UNKNOWN, f"no key in {source} has the token's kid")
        return key

    def signing_key(self) -> SigningKey | None:
        """Return the first key that can sign."""
        return next((key for key in self.keys if key.can_sign), None)


def load_jwk(jwk: Mapping[str, Any], *, issuer: str | None = None) -> SigningKey:
    """Load a key from a JSON Web Key (RFC 7517); members that the key does not need are ignored.

    If `issuer` is set, that issuer publishes the key, and private members are ignored.

    Raises:
        KeyInvalid: the key has another purpose, an unsupported type, or invalid members.
    """
    kid, kind = jwk.get("kid"), (jwk.get("kty"), jwk.get("crv"))
    if not isinstance(kid, str) or KID.fullmatch(kid) is None:
        raise KeyInvalid(f"its kid is not a string of 1 to {MAX_KID_LENGTH} visible characters")
    if (supported := JWK_KINDS.get((str(kind[0]), kind[1] and str(kind[1])))) is None:
        raise KeyInvalid("its kty and crv are not those of HS256, ES256, RS256 or Ed25519")
    algorithm, members = supported
    alg = jwk.get("alg", algorithm)
    if OLDER_NAMES.get(str(alg), alg) != algorithm:
        raise KeyInvalid(f"its alg is not {algorithm}, the algorithm of its kty")
    operations = jwk.get("key_ops", ["verify"])
    is_for_signatures = isinstance(operations, list) and not {"sign", "verify"}.isdisjoint(
        map(str, operations)
    )
    if jwk.get("use", "sig") != "sig" or not is_for_signatures:
        raise KeyInvalid("its use or key_ops does not allow signatures")
    ignored = PRIVATE_MEMBERS if issuer is not None else frozenset()  # published, so not private
    material = {
        name: jwk[name] for name in ("kty", "crv", *members) if name in jwk and name not in ignored
    }
    if not all(
        isinstance(value, str) and len(value) <= MAX_MEMBER_LENGTH for value in material.values()
    ):
        raise KeyInvalid(f"its members are not strings of at most {MAX_MEMBER_LENGTH} characters")
    # Without the primes, the library factors the modulus, which takes minutes.
    if algorithm == "RS256" and "d" in material and not material.keys() >= RSA_PRIMES:
        raise KeyInvalid("its private RSA key must include the primes p and q")
    key = _load_checked(algorithm, lambda: JWK_CLASSES[algorithm].import_key(material))
    if isinstance(key, OctKey) and len(key.raw_value) < MIN_SECRET_BYTES:
        raise KeyInvalid(SECRET_TOO_SHORT)
    return SigningKey(kid=kid, algorithm=algorithm, jwk=key, issuer=issuer)


def _load_secret(secret: str) -> OctKey:
    if secret.startswith("-----BEGIN"):
        raise KeyInvalid("its secret is a PEM key, but HS256 requires random bytes")
    if len(secret.encode()) < MIN_SECRET_BYTES:
        raise KeyInvalid(SECRET_TOO_SHORT)
    return OctKey.import_key(secret.encode())


def _load_pem(algorithm: Algorithm, pem: str) -> Jwk:
    return _load_checked(
        algorithm, lambda: JWK_CLASSES[algorithm].import_key(pem), form="a PEM key (-----BEGIN …)"
    )


def _read_exponent(jwk: RSAKey) -> int:
    return jwk.public_key.public_numbers().e


def _is_small_order(jwk: OKPKey) -> bool:
    """Check whether the point has order 1, 2, 4 or 8, so that anybody can forge signatures."""
    point = bytearray(jwk.public_key.public_bytes_raw())
    point[-1] &= 0x7F  # clear the sign bit of x, which does not change the order
    return bytes(point) in SMALL_ORDER_POINTS


def _load_checked(algorithm: Algorithm, load: Callable[[], Jwk], *, form: str = "a JWK") -> Jwk:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", SecurityWarning)  # joserfc only warns about a short key
            jwk = load()
        ALGORITHM_MODELS[algorithm].check_key(jwk)
        if isinstance(jwk, OKPKey) and _is_small_order(jwk):
            raise KeyInvalid("its Ed25519 point has a small order: anybody can forge signatures")
        if isinstance(jwk, RSAKey) and _read_exponent(jwk) > MAX_RSA_EXPONENT:
            raise KeyInvalid("its RSA exponent has more than 32 bits; use 65537")
    except SecurityWarning:
        rsa_too_short = f"its RSA key has fewer than {MIN_RSA_BITS} bits"
        raise KeyInvalid(SECRET_TOO_SHORT if algorithm == "HS256" else rsa_too_short) from None
    except (JoseError, ValueError, TypeError):
        raise KeyInvalid(f"it is not {form} for {algorithm}") from None
    return jwk
