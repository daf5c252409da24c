"""The form of a token: three canonical base64url parts around strict JSON (RFC 7515, 7.1).

Checked before any cryptography, by length first, so that nothing large is ever decoded; and read
by one parser, so that no two readers can disagree about what was signed.
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

MAX_TOKEN_LENGTH = 4096  # characters; a request line holds 8 kB, and real tokens take 300 to 1,000
MAX_KID_LENGTH = 128
MAX_CACHED_HEADERS, MAX_CACHED_HEADER_LENGTH = 256, 512  # and characters of one

BASE64URL = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenHeader:
    """What a header says; nothing of it is believed yet."""

    algorithm: str
    kid: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactToken:
    """A token taken apart; nothing in it is believed yet."""

    algorithm: str
    kid: str | None
    signing_input: bytes
    payload: dict[str, Any]
    signature: bytes


def read_compact(token: str) -> CompactToken:
    """Take a token apart, or refuse with `token-malformed`."""
    if len(token) > MAX_TOKEN_LENGTH:
        raise build_malformed_refusal(f"longer than {MAX_TOKEN_LENGTH} characters")
    parts = token.split(".")
    if len(parts) != len(("header", "payload", "signature")):
        raise build_malformed_refusal(f"{len(parts)} parts instead of 3")
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
    """Read a header, or refuse one that asks for what is not done here.

    Keys that a header brings along (`jwk`, `jku`, `x5u`, `x5c`) are not even looked at.
    """
    header = read_json(decode_part(part, "header"), "header")
    if not isinstance(header.get("alg"), str):
        raise build_malformed_refusal("the header has no alg")
    kid = header.get("kid", "")
    if not isinstance(kid, str) or len(kid) > MAX_KID_LENGTH:
        raise build_malformed_refusal(f"kid is not a text of at most {MAX_KID_LENGTH} characters")
    if "crit" in header:
        raise build_malformed_refusal("the header has crit, and no extension is understood here")
    if header.get("b64", True) is not True:
        raise build_malformed_refusal("the header has b64:false")
    return TokenHeader(algorithm=header["alg"], kid=header.get("kid"))


# A signer's tokens have the same one.
read_header = cache_short_texts(
    MAX_CACHED_HEADER_LENGTH, max_entries=MAX_CACHED_HEADERS, function=_read_header
)


def decode_part(part: str, name: str) -> bytes:
    """Decode base64url without padding, in the one form that an encoder writes."""
    if BASE64URL.fullmatch(part) is None:
        raise build_malformed_refusal(f"the {name} is empty or not base64url")
    if len(part) % 4 == 1:
        raise build_malformed_refusal(f"the {name} is cut off")
    decoded = urlsafe_b64decode(part + "=" * (-len(part) % 4))
    if urlsafe_b64encode(decoded).rstrip(b"=") != part.encode():
        raise build_malformed_refusal(f"the {name} is not in canonical base64url")
    return decoded


def read_json(text: bytes, name: str) -> dict[str, Any]:
    """Read a JSON object strictly: UTF-8, no name twice, no NaN or Infinity, no deep nesting."""
    try:
        value = DECODER.decode(text.decode())
    except (ValueError, RecursionError):
        raise build_malformed_refusal(f"the {name} is not strict JSON") from None
    if not isinstance(value, dict):
        raise build_malformed_refusal(f"the {name} is not a JSON object")
    return value


def compute_token_identity(token: str) -> str:
    """Return what tells a verified token from every other one: a digest of what was signed.

    Not of the whole text: an ES256 signature has a twin that verifies too (r, n - s).
    """
    signed, _, _ = token.rpartition(".")
    return urlsafe_b64encode(sha256(signed.encode()).digest()).rstrip(b"=").decode()


def read_query_tokens(query: str) -> list[str]:
    """Return the value of every `token` in the query of a URL, decoded."""
    return [text for name, text in parse_qsl(query, keep_blank_values=True) if name == "token"]


def require_single_token(found: Iterable[str]) -> str:
    """Return the token of a request that may have carried it in several places."""
    different = {token for token in found if token}
    if not different:
        raise Refusal(Reason.TOKEN_MISSING)
    if len(different) > 1:
        raise Refusal(Reason.TOKEN_CONFLICT, f"{len(different)} different tokens")
    return different.pop()


def build_malformed_refusal(why: str) -> Refusal:
    """Return the refusal of a token whose form is wrong."""
    message = f"The token is malformed: {why}. Copy the link whole; if it was, mend its signer."
    return Refusal(Reason.TOKEN_MALFORMED, why, message=message)


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name stands twice")
    return members


def _reject_constant(_constant: str) -> NoReturn:
    raise ValueError("not JSON")


# One for all; `json.loads` would make another for each.
DECODER = json.JSONDecoder(object_pairs_hook=_reject_duplicates, parse_constant=_reject_constant)
