"""Parse the compact form of a token: three base64url parts with strict JSON (RFC 7515, 7.1).

The form is checked before any cryptography. The length is checked first, so that no large token is
decoded. There is only one parser, so two parsers cannot disagree about the signed content.
"""

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NoReturn
from urllib.parse import parse_qsl

from proxy.domain.caches import cache_short_texts
from proxy.domain.reasons import Reason, Refusal

MAX_TOKEN_LENGTH = 4096  # characters; real tokens take 300 to 1,000, a request line at most 8 kB
MAX_KID_LENGTH = 128
MAX_CACHED_HEADERS = 256
MAX_CACHED_HEADER_LENGTH = 512  # characters

BASE64URL = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenHeader:
    """The parsed header of a token; not verified yet."""

    algorithm: str
    kid: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactToken:
    """The parsed parts of a token; not verified yet."""

    algorithm: str
    kid: str | None
    signing_input: bytes
    payload: dict[str, Any]
    signature: bytes


def read_compact(token: str) -> CompactToken:
    """Parse a token without verifying it.

    Raises:
        Refusal: `token-malformed`.
    """
    if len(token) > MAX_TOKEN_LENGTH:
        raise build_malformed_refusal(f"it is longer than {MAX_TOKEN_LENGTH} characters")
    parts = token.split(".")
    if len(parts) != len(("header", "payload", "signature")):
        raise build_malformed_refusal(
            f"it must have 3 parts separated by dots, and has {len(parts)}"
        )
    header = read_header(parts[0])
    payload = read_json(decode_part(parts[1], "payload"), "payload")
    return CompactToken(
        algorithm=header.algorithm,
        kid=header.kid,
        signing_input=f"{parts[0]}.{parts[1]}".encode(),
        payload=payload,
        signature=decode_part(parts[2], "signature"),
    )


def _read_header(part: str) -> TokenHeader:
    """Parse a header, and refuse a header with unsupported features.

    Keys in a header (`jwk`, `jku`, `x5u`, `x5c`) are ignored.
    """
    header = read_json(decode_part(part, "header"), "header")
    if not isinstance(header.get("alg"), str):
        raise build_malformed_refusal("the header has no alg")
    kid = header.get("kid", "")
    if not isinstance(kid, str) or len(kid) > MAX_KID_LENGTH:
        raise build_malformed_refusal(f"kid is not a string of at most {MAX_KID_LENGTH} characters")
    if "crit" in header:
        raise build_malformed_refusal("the header has crit, but no extension is supported")
    if header.get("b64", True) is not True:
        raise build_malformed_refusal("the header has b64: false, which is not supported")
    return TokenHeader(algorithm=header["alg"], kid=header.get("kid"))


# Cached, because all tokens of a signer have the same header.
read_header = cache_short_texts(
    MAX_CACHED_HEADER_LENGTH, max_entries=MAX_CACHED_HEADERS, function=_read_header
)


def decode_part(part: str, name: str) -> bytes:
    """Decode canonical base64url without padding; refuses any other encoding of the same bytes."""
    if BASE64URL.fullmatch(part) is None:
        raise build_malformed_refusal(f"the {name} is empty or not base64url")
    if len(part) % 4 == 1:
        raise build_malformed_refusal(f"the {name} is cut off")
    decoded = urlsafe_b64decode(part + "=" * (-len(part) % 4))
    if urlsafe_b64encode(decoded).rstrip(b"=") != part.encode():
        raise build_malformed_refusal(f"the {name} is not in canonical base64url")
    return decoded


def read_json(text: bytes, name: str) -> dict[str, Any]:
    """Parse strict JSON: a UTF-8 object without duplicate names, NaN, Infinity or deep nesting."""
    try:
        value = DECODER.decode(text.decode())
    except (ValueError, RecursionError):
        raise build_malformed_refusal(
            f"the {name} is not UTF-8 JSON, repeats a name, or is nested too deeply"
        ) from None
    if not isinstance(value, dict):
        raise build_malformed_refusal(f"the {name} is not a JSON object")
    return value


def compute_token_identity(token: str) -> str:
    """Return a unique ID of a verified token: a digest of the token without its signature.

    The signature is left out because every ES256 signature (r, s) has a second valid form
    (r, n - s).
    """
    signed, _, _ = token.rpartition(".")
    return urlsafe_b64encode(sha256(signed.encode()).digest()).rstrip(b"=").decode()


def read_query_tokens(query: str) -> list[str]:
    """Return the decoded values of all `token` parameters in the query of a URL."""
    return [text for name, text in parse_qsl(query, keep_blank_values=True) if name == "token"]


def require_single_token(tokens: Iterable[str]) -> str:
    """Return the only token of a request; the same token may occur in several places.

    Raises:
        Refusal: `token-missing` or `token-conflict`.
    """
    distinct = {token for token in tokens if token}
    if not distinct:
        raise Refusal(Reason.TOKEN_MISSING)
    if len(distinct) > 1:
        raise Refusal(Reason.TOKEN_CONFLICT, f"the request has {len(distinct)} different tokens")
    return distinct.pop()


def build_malformed_refusal(cause: str) -> Refusal:
    """Return the refusal of a malformed token; the public message contains the cause."""
    message = (
        f"The token is malformed: {cause}. Copy the complete link; if the link is complete, fix "
        "the token's signer."
    )
    return Refusal(Reason.TOKEN_MALFORMED, cause, message=message)


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate name")
    return members


def _reject_constant(_constant: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


# A shared decoder: `json.loads` would create a decoder for each call.
DECODER = json.JSONDecoder(object_pairs_hook=_reject_duplicates, parse_constant=_reject_constant)
