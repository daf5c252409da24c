"""Token claims: parse them, and verify the token that carries them."""

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

MAX_TIMESTAMP = (
    2**53
)  # beyond it, JSON numbers mean different things to different readers (RFC 8259, 6)
MAX_TEXT_LENGTH = 256

# Opaque names travel in a header and in logs.
VISIBLE_TEXT = re.compile(rf"[\x21-\x7e]{{1,{MAX_TEXT_LENGTH}}}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """The claims that Playgate knows; what else a token carries is the signer's own business.

    Times are absolute seconds since 1970 (RFC 7519, NumericDate), whole.

    Attributes:
        issuer: `iss` as the token states it; once verified, the issuer whose key signed it, and
            None for the operator's own keys. It scopes `jti` and `subject`.
        signable: what the key may sign tokens for, matched against whole video IDs; None for all.
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


def scope_name(name: str, issuer: str | None) -> str:
    """Return a `sub` or `jti` as it counts here: issuers name theirs independently.

    Neither part has a space, so that no two of them read the same.
    """
    return name if issuer is None else f"{issuer} {name}"


def read_claims(payload: dict[str, Any]) -> Claims:
    """Read the claims of a payload, or refuse with `token-malformed`."""
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
        raise build_malformed_refusal(f"the claim {name} is not a text or a list of texts")
    if name in payload and not value:
        raise build_malformed_refusal(f"the claim {name} is an empty list, which allows nothing")
    return tuple(value)


def _read_time(payload: dict[str, Any], name: str) -> int | None:
    return _read_number(payload, name, least=0, what="of seconds since 1970")


def _read_size(payload: dict[str, Any], name: str) -> int | None:
    return _read_number(payload, name, least=1, what="above 0")


def _read_number(payload: dict[str, Any], name: str, *, least: int, what: str) -> int | None:
    value = payload.get(name)
    if name not in payload:
        return None
    if (
        type(value) is not int or not least <= value <= MAX_TIMESTAMP
    ):  # bool is an int to isinstance
        raise build_malformed_refusal(f"the claim {name} is not a whole number {what}")
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
    """Return the claims of a token that one of the keys signed, or refuse with a `token-` reason.

    Times and access are not decided here, so the result may be remembered for as long as the
    keyring lives.
    """
    compact = read_compact(token)
    key = keyring.find(compact.kid, read_claimed_issuer(compact))
    check_signature(compact, key)
    claims = read_claims(compact.payload)
    check_issuer(claims, key)
    return attribute_claims(claims, key)


def attribute_claims(claims: Claims, key: SigningKey) -> Claims:
    """Return claims with what follows from the key: whose they are, and for which videos."""
    return replace(claims, issuer=key.issuer, signable_videos=key.videos)


def read_claimed_issuer(compact: CompactToken) -> str | None:
    """Return whose key to look for; whether it is true is found out with that key."""
    issuer = compact.payload.get("iss")
    return issuer if isinstance(issuer, str) else None


def check_signature(compact: CompactToken, key: SigningKey) -> None:
    """Refuse a token that this key did not sign with the key's own algorithm."""
    algorithm = OLDER_NAMES.get(compact.algorithm, compact.algorithm)
    if algorithm != key.algorithm:
        raise Refusal(Reason.TOKEN_SIGNATURE, f"alg is not {key.algorithm}, which the key is for")
    if not key.verify_signature(compact.signing_input, compact.signature):
        raise Refusal(Reason.TOKEN_SIGNATURE, "signed with another key than the one it names")


def check_issuer(claims: Claims, key: SigningKey) -> None:
    """Refuse a token that speaks for another issuer than the owner of its key."""
    if key.issuer is not None and claims.issuer != key.issuer:
        raise Refusal(Reason.TOKEN_ISSUER, "iss is not the issuer of the key that signed it")
