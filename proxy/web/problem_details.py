"""Responses to refusals: problem details (RFC 9457), or an HTML page for people in a browser."""

import json
from base64 import b64encode
from functools import partial
from hashlib import sha256
from html import escape
from http import HTTPStatus
from typing import Final, Literal

from aiohttp import hdrs, web

from proxy.domain.reasons import Reason, Refusal
from proxy.web.headers import PLAYER_PORT_HEADERS

# Identifies the problem type on all routes and hosts (RFC 9457, 3.1.1). A tag URI (RFC 4151):
# the project has no public address to link to.
TYPE_PREFIX = "tag:playgate,2026:reasons#"

ClientKind = Literal["player", "api", "nginx", "front-door"]
# Clients that may pass the response to a person's browser; the others are programs.
BROWSER_CLIENTS = frozenset({"player", "front-door"})


def get_status(reason: Reason, client: ClientKind) -> int:
    """Return the HTTP status of a refusal for a kind of client.

    nginx understands only 401 and 403 from `auth_request` and turns anything else into a 500 for
    the player, so it gets 403 for every other status. A rate-limited program gets 429; players stop
    playing on 429, so they get 503.
    """
    if client == "nginx" and reason.status != HTTPStatus.UNAUTHORIZED:
        return HTTPStatus.FORBIDDEN
    if client == "api" and reason is Reason.RATE_LIMITED:
        return HTTPStatus.TOO_MANY_REQUESTS
    return reason.status


def build_problem_response(
    refusal: Refusal, request_id: str, *, client: ClientKind = "player", accept: str = ""
) -> web.Response:
    """Build the response to a refused request; a browser that prefers text/html gets a page.

    Front doors other than nginx pass the response to the player, which needs the player port's
    headers.
    """
    status = get_status(refusal.reason, client)
    headers = {"X-Deny-Reason": str(refusal.reason), hdrs.VARY: hdrs.ACCEPT}
    if client == "front-door":
        headers |= PLAYER_PORT_HEADERS
    if refusal.retry_after is not None:
        headers["Retry-After"] = str(refusal.retry_after)
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"  # RFC 9110, 15.5.2 requires a challenge
    if client in BROWSER_CLIENTS and prefers_html(accept):
        headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        page = build_problem_page(refusal, request_id, status)
        return web.Response(text=page, status=status, headers=headers, content_type="text/html")
    return web.json_response(
        {
            "type": f"{TYPE_PREFIX}{refusal.reason}",
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


PAGE_STYLE: Final = (
    ":root{color-scheme:light dark}"
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:36rem;margin:15vh auto 0;padding:0 1.25rem}"
    "h1{font-size:1.35rem;line-height:1.35;text-wrap:balance}"
    "p{color:GrayText}code{overflow-wrap:anywhere}"
)
PAGE_STYLE_HASH = b64encode(sha256(PAGE_STYLE.encode()).digest()).decode()
# The page runs no script and loads nothing: it has only its text and this style.
CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{PAGE_STYLE_HASH}'; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)
JSON_TYPES = ("application/problem+json", "application/json")


def prefers_html(accept: str) -> bool:
    """Decide whether an Accept header prefers HTML to JSON (RFC 9110, 12.5.1).

    Players and most programs send `*/*` or no Accept header and get JSON. Browsers name text/html
    when a person opens a URL.
    """
    qualities = _parse_qualities(accept)
    html = qualities.get("text/html", 0.0)
    return html > 0 and html >= max(qualities.get(name, 0.0) for name in JSON_TYPES)


def _parse_qualities(accept: str) -> dict[str, float]:
    qualities: dict[str, float] = {}
    for item in accept.lower().split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        quality = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        try:
            qualities[name] = float(quality)
        except ValueError:
            qualities[name] = 0.0
    return qualities


def build_problem_page(refusal: Refusal, request_id: str, status: int) -> str:
    """Build the HTML page of a refusal: its message, reason, status and request ID."""
    reason = escape(str(refusal.reason))
    facts = (
        f"Status {status} · reason <code>{reason}</code><br>"
        f"Request ID <code>{escape(request_id)}</code>"
    )
    return build_html_page(reason, escape(refusal.message), facts)


def build_html_page(title: str, heading: str, text: str) -> str:
    """Build a page with one heading and one paragraph. All arguments are HTML, not plain text."""
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{title}</title><link rel='icon' href='data:,'><style>{PAGE_STYLE}</style>"
        f"<h1>{heading}</h1><p>{text}</p></html>"
    )
