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

ClientKind = Literal["player", "api", "nginx", "front-door"]
# Clients behind whom there may be a person with a browser; the others are programs.
PEOPLE = frozenset({"player", "front-door"})


def status_of(reason: Reason, client: ClientKind) -> int:
    """Return the status of a refusal.

    nginx understands 401 and 403 of its `auth_request` and makes anything else a 500 for the
    player, so every other status leaves as 403. Programs know what 429 means, and players give up
    on it, so they get 503.
    """
    if client == "nginx" and reason.status != HTTPStatus.UNAUTHORIZED:
        return HTTPStatus.FORBIDDEN
    if client == "api" and reason is Reason.RATE_LIMITED:
        return HTTPStatus.TOO_MANY_REQUESTS
    return reason.status


def problem(
    refusal: Refusal, request_id: str, *, client: ClientKind = "player", accept: str = ""
) -> web.Response:
    """Return the response of a refusal.

    Args:
        refusal: its reason fixes the status.
        request_id: what a user quotes to the operator.
        client: other front doors than nginx pass the response on to the player, who needs the
            headers of the player port.
        accept: the request's Accept header; a browser that asks for text/html gets a page.
    """
    status = status_of(refusal.reason, client)
    headers = {"X-Deny-Reason": str(refusal.reason), hdrs.VARY: hdrs.ACCEPT}
    if client == "front-door":
        headers |= PLAYER_PORT
    if refusal.retry_after is not None:
        headers["Retry-After"] = str(refusal.retry_after)
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"  # RFC 9110, 15.5.2 demands a challenge
    if client in PEOPLE and prefers_html(accept):
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
