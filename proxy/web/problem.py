"""A refusal as the public sees it: problem details (RFC 9457) and a header for nginx."""

from __future__ import annotations

import json
from functools import partial
from http import HTTPStatus

from aiohttp import web

from proxy.domain.reasons import Refusal


def problem(refusal: Refusal, request_id: str, *, for_subrequest: bool = False) -> web.Response:
    """Return the response of a refusal.

    Args:
        refusal: its reason alone fixes the status.
        request_id: what a user quotes to the operator.
        for_subrequest: nginx understands 401 and 403 of its `auth_request` and makes anything
            else a 500 for the player, so every other status leaves as 403.
    """
    status = refusal.reason.status
    if for_subrequest and status != HTTPStatus.UNAUTHORIZED:
        status = HTTPStatus.FORBIDDEN
    headers = {"X-Deny-Reason": str(refusal.reason)}
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
