"""Parse token claims, and verify tokens."""

import re
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from proxy.domain.client_ip import Network, parse_network
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.tokens.compact import CompactToken, build_malformed_refusal, read_compact
from proxy.domain.tokens.keyring import OLDER_NAMES, Keyring, SigningKey
from proxy.domain.variant_limits import NO_LIMITS, VariantLimits

T = TypeVar("T")

ANY_VIDEO = "*"

# In seconds since 1970. JSON parsers disagree about greater numbers (RFC 8259, 6).
MAX_TIMESTAMP = 2**53
MAX_TEXT_LENGTH = 256

# `sub`, `jti` and `iss` appear in a header and in logs.
VISIBLE_TEXT = re.compile(rf"[\x21-\x7e]{{1,{MAX_TEXT_LENGTH}}}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """The claims that Playgate uses; a token may contain others.

    Times are in whole seconds since 1970 (RFC 7519, NumericDate).

    Attributes:
        issuer: before verification, the claim `iss`; after it, the owner of the signing key, which
            is None for the operator's own keys. `jti` and `subject` are unique per issuer.
        signable_videos: matches the whole ID of each video that the key may sign for; None means
            all videos.
    """

    video: str
    issued_at: int
    expires_at: int
    not_before: int | None
    audience: tuple[str, ...]
    issuer: str | None
    jti: str | None
    subject: str | None
    network: Network | None
    formats: tuple[str, ...]
    limits: VariantLimits = NO_LIMITS
    signable_videos: re.Pattern[str] | None = None


def add_issuer_prefix(name: str, issuer: str | None) -> str:
    """Prefix a `sub` or `jti` with its issuer, because issuers choose these values independently.

    Neither part contains a space, so the result is unique.
    """
    return name if issuer is None else f"{issuer} {name}"


def read_claims(payload: dict[str, Any]) -> Claims:
    """Parse the claims of a payload.

    Raises:
        Refusal: `token-malformed`.
    """
    return Claims(
        video=_require(_read_text(payload, "video"), "video"),
        issued_at=_require(_read_time(payload, "iat"), "iat"),
        expires_at=_require(_read_time(payload, "exp"), "exp"),
        not_before=_read_time(payload, "nbf"),
        audience=_read_texts(payload, "aud"),
        issuer=_read_text(payload, "iss"),
        jti=_read_text(payload, "jti"),
        subject=_read_text(payload, "sub"),
        network=_read_network(payload),
        formats=_read_texts(payload, "fmt"),
        limits=VariantLimits(
            max_height=_read_size(payload, "max_height"),
            max_bandwidth=_read_size(payload, "max_bandwidth"),
        ),
    )


def _require(value: T | None, name: str) -> T:
    if value is None:
        raise build_malformed_refusal(f"the claim {name} is missing")
    return value


def _read_text(payload: dict[str, Any], name: str) -> str | None:
    value = payload.get(name)
    if name not in payload:
        return None
    if not isinstance(value, str) or VISIBLE_TEXT.fullmatch(value) is None:
        raise build_malformed_refusal(
            f"the claim {name} is not 1 to {MAX_TEXT_LENGTH} visible ASCII characters"
        )
    return value


def _read_texts(payload: dict[str, Any], name: str) -> tuple[str, ...]:
    value = payload.get(name, [])
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise build_malformed_refusal(f"the claim {name} is not a string or a list of strings")
    if name in payload and not value:
        raise build_malformed_refusal(f"the claim {name} is an empty list, which allows nothing")
    return tuple(value)


def _read_time(payload: dict[str, Any], name: str) -> int | None:
    return _read_number(payload, name, minimum=0, unit="of seconds since 1970")


def _read_size(payload: dict[str, Any], name: str) -> int | None:
    return _read_number(payload, name, minimum=1, unit="above 0")


def _read_number(payload: dict[str, Any], name: str, *, minimum: int, unit: str) -> int | None:
    value = payload.get(name)
    if name not in payload:
        return None
    # `isinstance` would also accept a bool.
    if type(value) is not int or not minimum <= value <= MAX_TIMESTAMP:
        raise build_malformed_refusal(f"the claim {name} is not a whole number {unit}")
    return value


def _read_network(payload: dict[str, Any]) -> Network | None:
    if "ip" not in payload:
        return None
    value = payload["ip"]
    try:
        return parse_network(value if isinstance(value, str) else "")
    except ValueError:
        raise build_malformed_refusal("the claim ip is not an address or a network") from None


def verify(token: str, keyring: Keyring) -> Claims:
    """Verify a token's signature and issuer, and return its claims.

    Times and access are not checked, so the result can be cached as long as the keyring is in use.

    Raises:
        Refusal: with a `token-…` reason.
    """
    compact = read_compact(token)
    key = keyring.find(compact.kid, read_claimed_issuer(compact))
    check_signature(compact, key)
    claims = read_claims(compact.payload)
    check_issuer(claims, key)
    return attribute_claims(claims, key)


def attribute_claims(claims: Claims, key: SigningKey) -> Claims:
    """Return the claims with the key's issuer and the videos that the key may sign for."""
    return replace(claims, issuer=key.issuer, signable_videos=key.videos)


def read_claimed_issuer(compact: CompactToken) -> str | None:
    """Return the unverified `iss`, which selects the key; `check_issuer` verifies it later."""
    issuer = compact.payload.get("iss")
    return issuer if isinstance(issuer, str) else None


def check_signature(compact: CompactToken, key: SigningKey) -> None:
    """Refuse a token that this key did not sign, or that names another algorithm than the key's."""
    algorithm = OLDER_NAMES.get(compact.algorithm, compact.algorithm)
    if algorithm != key.algorithm:
        raise Refusal(
            Reason.TOKEN_SIGNATURE, f"alg is not {key.algorithm}, the algorithm of the key"
        )
    if not key.verify_signature(compact.signing_input, compact.signature):
        raise Refusal(
            Reason.TOKEN_SIGNATURE,
            "the signature does not match the key; the signer may use another key of this name",
        )


def check_issuer(claims: Claims, key: SigningKey) -> None:
    """Refuse a token whose `iss` is not the owner of the signing key."""
    if key.issuer is not None and claims.issuer != key.issuer:
        raise Refusal(
            Reason.TOKEN_ISSUER, "iss is missing, or is not the issuer of the signing key"
        )
