"""The response of a refusal: problem details (RFC 9457), or a page for a person in a browser."""

from __future__ import annotations

import json
from functools import partial
from http import HTTPStatus
from typing import Literal

from aiohttp import hdrs, web

from proxy.domain.reasons import Reason, Refusal
from proxy.web.headers import PLAYER_PORT
from proxy.web.problem_page import CONTENT_SECURITY_POLICY, prefers_html, problem_page

Asker = Literal["player", "api", "nginx", "front-door"]
ASKERS: dict[str, Asker] = {  # by the route's name; of all others: players
    "auth": "nginx",
    "forward-auth": "front-door",
    "stream-urls": "api",
    "tokens": "api",
    "revocations": "api",
}


# Askers behind whom there may be a person with a browser; the others are programs.
PEOPLE = frozenset({"player", "front-door"})


def status_of(reason: Reason, asker: Asker) -> int:
    """Return the status of a refusal.

    nginx understands 401 and 403 of its `auth_request` and makes anything else a 500 for the
    player, so every other status leaves as 403. Programs know what 429 means, and players give up
    on it, so they get 503.
    """
    if asker == "nginx" and reason.status != HTTPStatus.UNAUTHORIZED:
        return HTTPStatus.FORBIDDEN
    if asker == "api" and reason is Reason.RATE_LIMITED:
        return HTTPStatus.TOO_MANY_REQUESTS
    return reason.status


def problem(
    refusal: Refusal, request_id: str, *, asker: Asker = "player", accept: str = ""
) -> web.Response:
    """Return the response of a refusal.

    Args:
        refusal: its reason fixes the status.
        request_id: what a user quotes to the operator.
        asker: other front doors than nginx hand the answer on to the player as it is, who needs the
            headers of the player port.
        accept: the request's Accept header; a browser that asks for text/html gets a page.
    """
    status = status_of(refusal.reason, asker)
    headers = {"X-Deny-Reason": str(refusal.reason), hdrs.VARY: hdrs.ACCEPT}
    if asker == "front-door":
        headers |= PLAYER_PORT
    if refusal.retry_after is not None:
        headers["Retry-After"] = str(refusal.retry_after)
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"  # RFC 9110, 15.5.2 demands a challenge
    if asker in PEOPLE and prefers_html(accept):
        headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        page = problem_page(refusal, request_id, status)
        return web.Response(text=page, status=status, headers=headers, content_type="text/html")
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
