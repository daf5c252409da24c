"""A refusal as a small page, for a person who opened the address in a browser."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from html import escape
from typing import Final

from proxy.domain.reasons import Refusal

STYLE: Final = (
    ":root{color-scheme:light dark}"
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:36rem;margin:15vh auto 0;padding:0 1.25rem}"
    "h1{font-size:1.35rem;line-height:1.35;text-wrap:balance}"
    "p{color:GrayText}code{overflow-wrap:anywhere}"
)
STYLE_HASH = b64encode(sha256(STYLE.encode()).digest()).decode()
# Nothing runs and nothing is loaded: the page is this text and this style.
CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)
JSON_TYPES = ("application/problem+json", "application/json")


def prefers_html(accept: str) -> bool:
    """Decide whether an Accept header asks for a page rather than JSON (RFC 9110, 12.5.1).

    Players and most programs send `*/*` or nothing and get JSON; browsers name text/html when a
    person opens an address.
    """
    quality = _qualities(accept)
    html = quality.get("text/html", 0.0)
    return html > 0 and html >= max(quality.get(name, 0.0) for name in JSON_TYPES)


def _qualities(accept: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for item in accept.lower().split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        given = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        try:
            found[name] = float(given)
        except ValueError:
            found[name] = 0.0
    return found


def problem_page(refusal: Refusal, request_id: str, status: int) -> str:
    """Return the page of a refusal: its sentence, reason, status and request ID."""
    sentence, reason = escape(refusal.message), escape(str(refusal.reason))
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{reason}</title><link rel='icon' href='data:,'><style>{STYLE}</style>"
        f"<h1>{sentence}</h1>"
        f"<p>Status {status} · reason <code>{reason}</code><br>"
        f"Request ID <code>{escape(request_id)}</code></p></html>"
    )
