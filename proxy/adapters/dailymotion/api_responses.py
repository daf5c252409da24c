"""What Dailymotion's answers mean: JSON, or a refusal by reason.

Shapes and codes come from the API's documents and from public code; where nobody wrote them down,
the reading is generous and the detail in the log says what was seen.
"""

import json
import re
from http import HTTPStatus
from typing import Any

from proxy.adapters.errors import FailureKind, UpstreamError
from proxy.adapters.http_client import HttpResponse, Operation
from proxy.domain.reasons import Reason, Refusal, build_overload_refusal


class AccessTokenRefused(Refusal):
    """The access token did not do; a new one may."""

    def __init__(self, detail: str) -> None:
        super().__init__(Reason.PLATFORM_CREDENTIALS, detail)


# What an error says in its code, type or reason, in words that public code and threads report.
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
    "private-address": Reason.STREAM_HOST_NOT_ALLOWED,
}


def to_refusal(error: UpstreamError) -> Refusal:
    """Return what a failed request to Dailymotion, or its CDN, means for a play."""
    if error.kind == "no-descriptors":
        return build_overload_refusal(error.detail)
    return Refusal(FAILURE_REASONS[error.kind], error.detail)


def read_object(operation: Operation, answer: HttpResponse) -> dict[str, Any]:
    """Return what the API answered to a call with an access token, or refuse.

    Raises:
        AccessTokenRefused: the access token did not do.
        Refusal: any other reason.
    """
    challenge = answer.headers.get("WWW-Authenticate", "")
    if answer.status == HTTPStatus.UNAUTHORIZED or "invalid_token" in challenge:
        raise AccessTokenRefused(f"{operation}: HTTP {answer.status}")
    members = read_json_object(operation, answer)
    if answer.status != HTTPStatus.OK or members.get("error") is not None:
        raise _build_refusal(operation, answer.status, members.get("error"))
    return members


def check_success(operation: Operation, answer: HttpResponse) -> None:
    """Refuse as `read_object` does unless it was done; what the body says then is no matter."""
    if answer.status != HTTPStatus.OK or b'"error"' in answer.body:
        read_object(operation, answer)


def read_json_object(what: str, answer: HttpResponse) -> dict[str, Any]:
    """Return the JSON object of an answer, or refuse with `platform-bad-response`."""
    try:
        members = json.loads(answer.body)
    except (ValueError, RecursionError):
        raise build_bad_response_refusal(f"{what}: HTTP {answer.status} without JSON") from None
    if not isinstance(members, dict):
        raise build_bad_response_refusal(
            f"{what}: HTTP {answer.status} with JSON that is no object"
        )
    return members


def read_error_kinds(error: Any) -> list[str]:
    """Return what an error says of its kind, without its prose; `code` is a number or a text."""
    if isinstance(error, str):
        return [error]
    reason = _get_member(_get_member(error, "error_data"), "reason")
    reason = reason or _get_member(_get_member(error, "details"), "reason")
    parts = (_get_member(error, "type"), reason, _get_member(error, "code"))
    return [str(part) for part in parts if part]


def to_loggable(text: str) -> str:
    """Return an upstream's own word for the log, where it is one: its prose may repeat anything."""
    return text if LOGGABLE.fullmatch(text) else "(not a word)"


def build_bad_response_refusal(detail: str) -> Refusal:
    """Return the refusal for an answer that cannot be used."""
    return Refusal(Reason.PLATFORM_BAD_RESPONSE, detail)


def _build_refusal(operation: Operation, status: int, error: Any) -> Refusal:
    kinds = read_error_kinds(error)
    detail = " ".join([f"{operation}: HTTP {status}", *map(to_loggable, kinds)])
    said = " ".join([*kinds, str(_get_member(error, "message"))]).lower()
    for word, reason in ERROR_WORD_REASONS:
        if word.lower() in said:
            return Refusal(reason, f"{detail}, says {word}")
    code = _read_code(error) if status == HTTPStatus.OK else status
    if code == HTTPStatus.UNAUTHORIZED:
        return AccessTokenRefused(detail)
    return Refusal(STATUS_REASONS.get(code, Reason.PLATFORM_BAD_RESPONSE), detail)


def _read_code(error: Any) -> int:
    code = str(_get_member(error, "code"))
    return int(code) if re.fullmatch(r"[0-9]{3}", code) else 0


def _get_member(value: Any, name: str) -> Any:
    return value.get(name, "") if isinstance(value, dict) else ""
