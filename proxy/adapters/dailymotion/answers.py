"""What Dailymotion's Legacy API answers mean: an access token, a stream, or a refusal by reason.

Shapes and codes come from the API's documents and from public code; where nobody wrote them down,
the reading is generous and the detail in the log says what was seen.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from proxy.adapters.dailymotion.exchange import Answer
from proxy.domain.reasons import Reason, Refusal


class AccessTokenRefused(Refusal):
    """The access token did not do; a new one may."""

    def __init__(self, detail: str) -> None:
        super().__init__(Reason.PLATFORM_CREDENTIALS, detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """An OAuth 2.0 access token and the seconds that it lives."""

    value: str
    expires_in: float


# What an error says in its code, type or reason, in words that public code and threads report.
REASON_WORDS = (
    ("DM007", Reason.VIDEO_GEOBLOCKED),
    ("geoblock", Reason.VIDEO_GEOBLOCKED),
    ("geo_block", Reason.VIDEO_GEOBLOCKED),
    ("password_protected", Reason.VIDEO_PASSWORD),
    ("DM010", Reason.VIDEO_PRIVATE),
    ("video_private", Reason.VIDEO_PRIVATE),
    ("DM019", Reason.STREAM_UNAVAILABLE),
    ("spam", Reason.PLATFORM_THROTTLED),
    ("throttl", Reason.PLATFORM_THROTTLED),
    ("rate_limit", Reason.PLATFORM_THROTTLED),
    ("not_found", Reason.VIDEO_NOT_FOUND),
)

REASON_STATUS: dict[int, Reason] = {
    HTTPStatus.FORBIDDEN: Reason.PLATFORM_PERMISSION,
    HTTPStatus.NOT_FOUND: Reason.VIDEO_NOT_FOUND,
    HTTPStatus.TOO_MANY_REQUESTS: Reason.PLATFORM_THROTTLED,
}

SLUG = re.compile(r"[A-Za-z0-9_.-]{1,48}", re.ASCII)

# OAuth 2.0 (RFC 6749, 5.2): a good key that may not have this scope, as against a bad key.
SCOPE_ERRORS = {"invalid_scope", "insufficient_scope", "access_denied"}

DEFAULT_EXPIRES_IN = 3600.0  # seconds; RFC 6749 only recommends `expires_in`
LONGEST_EXPIRES_IN = 10**9  # seconds, thirty years: more is not meant


def read_access_token(answer: Answer) -> AccessToken:
    """Return the access token of a token endpoint's answer, or refuse."""
    members = _object("token endpoint", answer)
    if answer.status != HTTPStatus.OK or members.get("error") is not None:
        kinds = _kinds(members.get("error"))
        is_scope = not SCOPE_ERRORS.isdisjoint(kinds)
        reason = Reason.PLATFORM_PERMISSION if is_scope else Reason.PLATFORM_CREDENTIALS
        said = " ".join([f"token endpoint: HTTP {answer.status}", *map(_loggable, kinds)])
        raise Refusal(reason, said)
    value, expires_in = members.get("access_token"), members.get("expires_in", DEFAULT_EXPIRES_IN)
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or not value:
        raise _bad("token endpoint: no access_token")
    is_number = isinstance(expires_in, int | float) and not isinstance(expires_in, bool)
    if not is_number or not 0 < expires_in <= LONGEST_EXPIRES_IN:  # NaN is in no range
        raise _bad("token endpoint: expires_in is not a number of seconds")
    return AccessToken(value=value, expires_in=float(expires_in))


def read_stream_url(answer: Answer, stream_fields: Sequence[str]) -> str:
    """Return the first stream URL that a video has, as it came, or refuse."""
    challenge = answer.headers.get("WWW-Authenticate", "")
    if answer.status == HTTPStatus.UNAUTHORIZED or "invalid_token" in challenge:
        raise AccessTokenRefused(f"video: HTTP {answer.status}")
    members = _object("video", answer)
    if answer.status != HTTPStatus.OK or members.get("error") is not None:
        raise _refusal_of(answer.status, members.get("error"))
    for field in stream_fields:
        value = members.get(field)
        if isinstance(value, str) and value:
            return value
        if value is not None:
            raise _bad(f"video: {field} is not a text")
    if not any(field in members for field in stream_fields):
        raise _bad("video: none of platform.stream_fields is in the answer")
    raise _refusal_of_null(members)


def _refusal_of(status: int, error: Any) -> Refusal:
    kinds = _kinds(error)
    detail = " ".join([f"video: HTTP {status}", *map(_loggable, kinds)])
    said = " ".join([*kinds, str(_member(error, "message"))]).lower()
    for word, reason in REASON_WORDS:
        if word.lower() in said:
            return Refusal(reason, f"{detail}, says {word}")
    code = _code(error) if status == HTTPStatus.OK else status
    if code == HTTPStatus.UNAUTHORIZED:
        return AccessTokenRefused(detail)
    return Refusal(REASON_STATUS.get(code, Reason.PLATFORM_BAD_ANSWER), detail)


def _refusal_of_null(members: dict[str, Any]) -> Refusal:
    """Say why a video has no stream, as far as its other fields tell."""
    if members.get("password_protected") is True:
        return Refusal(Reason.VIDEO_PASSWORD, "video: null, and password_protected")
    if members.get("private") is True:
        return Refusal(Reason.VIDEO_PRIVATE, "video: null, and private")
    if members.get("mode") == "live" and members.get("onair") is False:
        return Refusal(Reason.LIVE_OFF_AIR, "video: null, live and not onair")
    status = _loggable(str(members.get("status")))
    return Refusal(Reason.STREAM_UNAVAILABLE, f"video: null, status {status}")


def _object(what: str, answer: Answer) -> dict[str, Any]:
    try:
        members = json.loads(answer.body)
    except (ValueError, RecursionError):
        raise _bad(f"{what}: HTTP {answer.status} without JSON") from None
    if not isinstance(members, dict):
        raise _bad(f"{what}: HTTP {answer.status} with JSON that is no object")
    return members


def _kinds(error: Any) -> list[str]:
    """Return what an error says of its kind, without its prose; `code` is a number or a text."""
    if isinstance(error, str):
        return [error]
    reason = _member(_member(error, "error_data"), "reason")
    parts = (_member(error, "type"), reason, _member(error, "code"))
    return [str(part) for part in parts if part]


def _code(error: Any) -> int:
    code = str(_member(error, "code"))
    return int(code) if re.fullmatch(r"[0-9]{3}", code) else 0


def _member(value: Any, name: str) -> Any:
    return value.get(name, "") if isinstance(value, dict) else ""


def _loggable(text: str) -> str:
    """Return an upstream's own word for the log, where it is one: its prose may repeat anything."""
    return text if SLUG.fullmatch(text) else "(not a word)"


def _bad(detail: str) -> Refusal:
    return Refusal(Reason.PLATFORM_BAD_ANSWER, detail)
