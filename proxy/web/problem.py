"""A refusal as the public sees it: problem details (RFC 9457) and a header for nginx."""

from __future__ import annotations

import json
from functools import partial
from http import HTTPStatus
from typing import Literal

from aiohttp import web

from proxy.domain.reasons import Reason, Refusal
from proxy.web.headers import PLAYER_PORT

Asker = Literal["player", "api", "nginx", "front-door"]


def problem(refusal: Refusal, request_id: str, *, asker: Asker = "player") -> web.Response:
    """Return the response of a refusal.

    Args:
        refusal: its reason fixes the status.
        request_id: what a user quotes to the operator.
        asker: nginx understands 401 and 403 of its `auth_request` and makes anything else a 500
            for the player, so every other status leaves as 403. Programs know what 429 means,
            and players give up on it, so they get 503. Other front doors than nginx hand the answer
            on to the player as it is, who needs the headers of the player port.
    """
    status = refusal.reason.status
    if asker == "nginx" and status != HTTPStatus.UNAUTHORIZED:
        status = HTTPStatus.FORBIDDEN
    if asker == "api" and refusal.reason is Reason.RATE_LIMITED:
        status = HTTPStatus.TOO_MANY_REQUESTS
    headers = {"X-Deny-Reason": str(refusal.reason)}
    if asker == "front-door":
        headers |= PLAYER_PORT
    if refusal.retry_after is not None:
        headers["Retry-After"] = str(refusal.retry_after)
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"  # RFC 9110, 15.5.2 demands a challenge
    return web.json_response(
        {
            "title": HTTPStatus(status).phrase,
            "status": status,
            "detail": refusal.message,
            "reason": str(refusal.reason),
            "request_id": request_id,
        },
        status=status,
        headers=headers,
        content_type="application/problem+json",
        dumps=partial(json.dumps, ensure_ascii=False),
    )
