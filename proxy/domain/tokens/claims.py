"""What a token says, once its claims are read into values. Nothing here knows what time it is."""

import re
from dataclasses import dataclass
from typing import Any, TypeVar

from proxy.domain.client_ip import Network, parse_network
from proxy.domain.tokens.compact import malformed
from proxy.domain.variant_limits import NO_LIMITS, Limits

T = TypeVar("T")

ANY_VIDEO = "*"

LATEST = 2**53  # beyond it, JSON numbers mean different things to different readers (RFC 8259, 6)
MAX_TEXT = 256

# Opaque names travel in a header and in logs.
VISIBLE = re.compile(rf"[\x21-\x7e]{{1,{MAX_TEXT}}}", re.ASCII)


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
    limits: Limits = NO_LIMITS
    signable: re.Pattern[str] | None = None


def scoped(name: str, issuer: str | None) -> str:
    """Return a `sub` or `jti` as it counts here: issuers name theirs independently.

    Neither part has a space, so that no two of them read the same.
    """
    return name if issuer is None else f"{issuer} {name}"


def read_claims(payload: dict[str, Any]) -> Claims:
    """Read the claims of a payload, or refuse with `token-malformed`."""
    return Claims(
        video=_required(_text(payload, "video"), "video"),
        issued_at=_required(_time(payload, "iat"), "iat"),
        expires_at=_required(_time(payload, "exp"), "exp"),
        not_before=_time(payload, "nbf"),
        audience=_texts(payload, "aud"),
        issuer=_text(payload, "iss"),
        jti=_text(payload, "jti"),
        subject=_text(payload, "sub"),
        network=_network(payload),
        formats=_texts(payload, "fmt"),
        limits=Limits(
            max_height=_size(payload, "max_height"),
            max_bandwidth=_size(payload, "max_bandwidth"),
        ),
    )


def _required(value: T | None, name: str) -> T:
    if value is None:
        raise malformed(f"the claim {name} is missing")
    return value


def _text(payload: dict[str, Any], name: str) -> str | None:
    value = payload.get(name)
    if name not in payload:
        return None
    if not isinstance(value, str) or VISIBLE.fullmatch(value) is None:
        raise malformed(f"the claim {name} is not 1 to {MAX_TEXT} visible ASCII characters")
    return value


def _texts(payload: dict[str, Any], name: str) -> tuple[str, ...]:
    value = payload.get(name, [])
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise malformed(f"the claim {name} is not a text or a list of texts")
    if name in payload and not value:
        raise malformed(f"the claim {name} is an empty list, which allows nothing")
    return tuple(value)


def _time(payload: dict[str, Any], name: str) -> int | None:
    value = payload.get(name)
    if name not in payload:
        return None
    if type(value) is not int or not 0 <= value <= LATEST:  # bool is an int to isinstance
        raise malformed(f"the claim {name} is not a whole number of seconds since 1970")
    return value


def _size(payload: dict[str, Any], name: str) -> int | None:
    value = payload.get(name)
    if name not in payload:
        return None
    if type(value) is not int or not 0 < value <= LATEST:
        raise malformed(f"the claim {name} is not a whole number above 0")
    return value


def _network(payload: dict[str, Any]) -> Network | None:
    if "ip" not in payload:
        return None
    value = payload["ip"]
    try:
        return parse_network(value if isinstance(value, str) else "")
    except ValueError:
        raise malformed("the claim ip is not an address or a network") from None
