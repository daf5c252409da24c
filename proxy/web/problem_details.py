"""The response of a refusal: problem details (RFC 9457), or a page for a person in a browser."""

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

ClientKind = Literal["player", "api", "nginx", "front-door"]
# Clients behind whom there may be a person with a browser; the others are programs.
BROWSER_CLIENTS = frozenset({"player", "front-door"})


def get_status(reason: Reason, client: ClientKind) -> int:
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


def build_problem_response(
    refusal: Refusal, request_id: str, *, client: ClientKind = "player", accept: str = ""
) -> web.Response:
    """Return the response of a refusal; a browser that asks for text/html gets a page.

    Other front doors than nginx pass the response on to the player, who needs the headers of the
    player port.
    """
    status = get_status(refusal.reason, client)
    headers = {"X-Deny-Reason": str(refusal.reason), hdrs.VARY: hdrs.ACCEPT}
    if client == "front-door":
        headers |= PLAYER_PORT_HEADERS
    if refusal.retry_after is not None:
        headers["Retry-After"] = str(refusal.retry_after)
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"  # RFC 9110, 15.5.2 demands a challenge
    if client in BROWSER_CLIENTS and prefers_html(accept):
        headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
        page = build_problem_page(refusal, request_id, status)
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


PAGE_STYLE: Final = (
    ":root{color-scheme:light dark}"
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:36rem;margin:15vh auto 0;padding:0 1.25rem}"
    "h1{font-size:1.35rem;line-height:1.35;text-wrap:balance}"
    "p{color:GrayText}code{overflow-wrap:anywhere}"
)
PAGE_STYLE_HASH = b64encode(sha256(PAGE_STYLE.encode()).digest()).decode()
# Nothing runs and nothing is loaded: the page is this text and this style.
CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{PAGE_STYLE_HASH}'; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)
JSON_TYPES = ("application/problem+json", "application/json")


def prefers_html(accept: str) -> bool:
    """Decide whether an Accept header asks for a page rather than JSON (RFC 9110, 12.5.1).

    Players and most programs send `*/*` or nothing and get JSON; browsers name text/html when a
    person opens an address.
    """
    quality = _parse_qualities(accept)
    html = quality.get("text/html", 0.0)
    return html > 0 and html >= max(quality.get(name, 0.0) for name in JSON_TYPES)


def _parse_qualities(accept: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for item in accept.lower().split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        given = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        try:
            found[name] = float(given)
        except ValueError:
            found[name] = 0.0
    return found


def build_problem_page(refusal: Refusal, request_id: str, status: int) -> str:
    """Return the page of a refusal: its sentence, reason, status and request ID."""
    reason = escape(str(refusal.reason))
    facts = (
        f"Status {status} · reason <code>{reason}</code><br>"
        f"Request ID <code>{escape(request_id)}</code>"
    )
    return build_html_page(reason, escape(refusal.message), facts)


def build_html_page(title: str, heading: str, text: str) -> str:
    """Return a page of one heading and one paragraph, all of them HTML."""
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{title}</title><link rel='icon' href='data:,'><style>{PAGE_STYLE}</style>"
        f"<h1>{heading}</h1><p>{text}</p></html>"
    )
