"""Reads Dailymotion's API responses: returns their JSON, or raises a refusal with the reason.

Formats and error codes come from the API's documentation and from public code. Undocumented
responses are read leniently, and the logged detail says what the response contained.
"""

import json
import re
from http import HTTPStatus
from typing import Any

from proxy.adapters.errors import FailureKind, UpstreamError
from proxy.adapters.http_client import HttpResponse, Operation
from proxy.domain.reasons import Reason, Refusal, build_overload_refusal


class AccessTokenRefused(Refusal):
    """Dailymotion refused the access token; a new one may work."""

    def __init__(self, detail: str) -> None:
        super().__init__(Reason.PLATFORM_CREDENTIALS, detail)


# Words in an error's code, type, reason or message, as reported by public code and forum threads.
ERROR_WORD_REASONS = (
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

STATUS_REASONS: dict[int, Reason] = {
    HTTPStatus.FORBIDDEN: Reason.PLATFORM_PERMISSION,
    HTTPStatus.NOT_FOUND: Reason.VIDEO_NOT_FOUND,
    HTTPStatus.TOO_MANY_REQUESTS: Reason.PLATFORM_THROTTLED,
}

LOGGABLE = re.compile(r"[A-Za-z0-9_.-]{1,48}", re.ASCII)

FAILURE_REASONS: dict[FailureKind, Reason] = {
    "unreachable": Reason.PLATFORM_UNREACHABLE,
    "timeout": Reason.PLATFORM_TIMEOUT,
    "throttled": Reason.PLATFORM_THROTTLED,
    "bad-response": Reason.PLATFORM_BAD_RESPONSE,
    "too-large": Reason.PLATFORM_BAD_RESPONSE,
    "private-address": Reason.STREAM_HOST_NOT_ALLOWED,
}


def to_refusal(error: UpstreamError) -> Refusal:
    """Convert a failed request to Dailymotion or its CDN to the refusal of a play."""
    if error.kind == "no-descriptors":
        return build_overload_refusal(error.detail)
    return Refusal(FAILURE_REASONS[error.kind], error.detail)


def read_object(operation: Operation, response: HttpResponse) -> dict[str, Any]:
    """Return the JSON object of an API response.

    Raises:
        AccessTokenRefused: if the API refused the access token.
        Refusal: if the response is another error, or not a JSON object.
    """
    challenge = response.headers.get("WWW-Authenticate", "")
    if response.status == HTTPStatus.UNAUTHORIZED or "invalid_token" in challenge:
        raise AccessTokenRefused(f"{operation}: HTTP {response.status}")
    members = read_json_object(operation, response)
    if response.status != HTTPStatus.OK or members.get("error") is not None:
        raise _build_refusal(operation, response.status, members.get("error"))
    return members


def check_success(operation: Operation, response: HttpResponse) -> None:
    """Raise the refusals of `read_object`, but accept status 200 with any body without `error`."""
    if response.status != HTTPStatus.OK or b'"error"' in response.body:
        read_object(operation, response)


def read_json_object(source: str, response: HttpResponse) -> dict[str, Any]:
    """Return the JSON object of a response, whatever its status.

    Raises:
        Refusal: `platform-bad-response`, if the body is not a JSON object.
    """
    prefix = f"{source}: HTTP {response.status}"
    try:
        members = json.loads(response.body)
    except (ValueError, RecursionError):
        raise build_bad_response_refusal(f"{prefix} without JSON") from None
    if not isinstance(members, dict):
        raise build_bad_response_refusal(f"{prefix} with JSON that is not an object")
    return members


def read_error_kinds(error: Any) -> list[str]:
    """Return an error's type, reason and code, without its message."""
    if isinstance(error, str):
        return [error]
    reason = _get_member(_get_member(error, "error_data"), "reason")
    reason = reason or _get_member(_get_member(error, "details"), "reason")
    parts = (_get_member(error, "type"), reason, _get_member(error, "code"))  # code: int or str
    return [str(part) for part in parts if part]


def to_loggable(text: str) -> str:
    """Return an upstream's text if it is a plain identifier: longer text may repeat a secret."""
    return text if LOGGABLE.fullmatch(text) else "(text withheld)"


def build_bad_response_refusal(detail: str) -> Refusal:
    """Build the refusal for a response that cannot be used."""
    return Refusal(Reason.PLATFORM_BAD_RESPONSE, detail)


def _build_refusal(operation: Operation, status: int, error: Any) -> Refusal:
    kinds = read_error_kinds(error)
    detail = " ".join([f"{operation}: HTTP {status}", *map(to_loggable, kinds)])
    text = " ".join([*kinds, str(_get_member(error, "message"))]).lower()
    for word, reason in ERROR_WORD_REASONS:
        if word.lower() in text:
            return Refusal(reason, f"{detail} (contains {word})")
    code = _read_code(error) if status == HTTPStatus.OK else status
    if code == HTTPStatus.UNAUTHORIZED:
        return AccessTokenRefused(detail)
    return Refusal(STATUS_REASONS.get(code, Reason.PLATFORM_BAD_RESPONSE), detail)


def _read_code(error: Any) -> int:
    code = str(_get_member(error, "code"))
    return int(code) if re.fullmatch(r"[0-9]{3}", code) else 0


def _get_member(value: Any, name: str) -> Any:
    return value.get(name, "") if isinstance(value, dict) else ""
