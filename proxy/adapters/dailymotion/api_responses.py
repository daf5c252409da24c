"""What Dailymotion's answers mean: JSON, or a refusal by reason.

Shapes and codes come from the API's documents and from public code; where nobody wrote them down,
the reading is generous and the detail in the log says what was seen.
"""

import json
import re
from http import HTTPStatus
from typing import Any

from proxy.adapters.errors import Problem, UpstreamError
from proxy.adapters.http_client import Answer, Operation
from proxy.domain.reasons import Reason, Refusal, overloaded


class AccessTokenRefused(Refusal):
    """The access token did not do; a new one may."""

    def __init__(self, detail: str) -> None:
        super().__init__(Reason.PLATFORM_CREDENTIALS, detail)


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

PROBLEM_REASON: dict[Problem, Reason] = {
    "unreachable": Reason.PLATFORM_UNREACHABLE,
    "timeout": Reason.PLATFORM_TIMEOUT,
    "throttled": Reason.PLATFORM_THROTTLED,
    "bad-answer": Reason.PLATFORM_BAD_ANSWER,
    "private-address": Reason.STREAM_HOST_NOT_ALLOWED,
}


def refusal_of(error: UpstreamError) -> Refusal:
    """Return what a failed request to Dailymotion, or its CDN, means for a play."""
    if error.problem == "no-descriptors":
        return overloaded(error.detail)
    return Refusal(PROBLEM_REASON[error.problem], error.detail)


def read_object(operation: Operation, answer: Answer) -> dict[str, Any]:
    """Return what the API answered to a call with an access token, or refuse.

    Raises:
        AccessTokenRefused: the access token did not do.
        Refusal: any other reason.
    """
    challenge = answer.headers.get("WWW-Authenticate", "")
    if answer.status == HTTPStatus.UNAUTHORIZED or "invalid_token" in challenge:
        raise AccessTokenRefused(f"{operation}: HTTP {answer.status}")
    members = json_object(operation, answer)
    if answer.status != HTTPStatus.OK or members.get("error") is not None:
        raise _refusal_for(operation, answer.status, members.get("error"))
    return members


def read_done(operation: Operation, answer: Answer) -> None:
    """Refuse as `read_object` does unless it was done; what the body says then is no matter."""
    if answer.status != HTTPStatus.OK or b'"error"' in answer.body:
        read_object(operation, answer)


def json_object(what: str, answer: Answer) -> dict[str, Any]:
    """Return the JSON object of an answer, or refuse with `platform-bad-answer`."""
    try:
        members = json.loads(answer.body)
    except (ValueError, RecursionError):
        raise bad_answer(f"{what}: HTTP {answer.status} without JSON") from None
    if not isinstance(members, dict):
        raise bad_answer(f"{what}: HTTP {answer.status} with JSON that is no object")
    return members


def error_kinds(error: Any) -> list[str]:
    """Return what an error says of its kind, without its prose; `code` is a number or a text."""
    if isinstance(error, str):
        return [error]
    reason = _member(_member(error, "error_data"), "reason")
    reason = reason or _member(_member(error, "details"), "reason")
    parts = (_member(error, "type"), reason, _member(error, "code"))
    return [str(part) for part in parts if part]


def loggable(text: str) -> str:
    """Return an upstream's own word for the log, where it is one: its prose may repeat anything."""
    return text if SLUG.fullmatch(text) else "(not a word)"


def bad_answer(detail: str) -> Refusal:
    """Return the refusal for an answer that cannot be used."""
    return Refusal(Reason.PLATFORM_BAD_ANSWER, detail)


def _refusal_for(operation: Operation, status: int, error: Any) -> Refusal:
    kinds = error_kinds(error)
    detail = " ".join([f"{operation}: HTTP {status}", *map(loggable, kinds)])
    said = " ".join([*kinds, str(_member(error, "message"))]).lower()
    for word, reason in REASON_WORDS:
        if word.lower() in said:
            return Refusal(reason, f"{detail}, says {word}")
    code = _code(error) if status == HTTPStatus.OK else status
    if code == HTTPStatus.UNAUTHORIZED:
        return AccessTokenRefused(detail)
    return Refusal(REASON_STATUS.get(code, Reason.PLATFORM_BAD_ANSWER), detail)


def _code(error: Any) -> int:
    code = str(_member(error, "code"))
    return int(code) if re.fullmatch(r"[0-9]{3}", code) else 0


def _member(value: Any, name: str) -> Any:
    return value.get(name, "") if isinstance(value, dict) else ""
