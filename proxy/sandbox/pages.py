"""The sandbox's index page, and the HTTP endpoints of the test controls."""

from html import escape
from typing import Any

from aiohttp import web

from proxy.sandbox.controls import CALL_KINDS, CallKind, Fault
from proxy.sandbox.edge_pages import build_explain_form, build_mint_form, get_edge
from proxy.sandbox.edge_tools import MintForm
from proxy.sandbox.html import build_page
from proxy.sandbox.state import STATE


async def show_index(request: web.Request) -> web.Response:
    """Show the index: every video with a link to a player page, and the forms for the edge."""
    edge = request.app[STATE].edge
    rows = "".join(
        f"<tr><td><a href='/open/{escape(name)}'><code>{escape(name)}</code></a>"
        f"<td>{escape(video.title)}<td><code>{escape(video.expect)}</code>"
        for name, video in request.app[STATE].videos.items()
    )
    links = (
        "Each link opens the edge's player page with a new token."
        if edge is not None
        else "This sandbox runs without an edge, so the links do not work."
    )
    about_edge = (
        f"<div class='forms'>{build_mint_form(edge)}{build_explain_form()}</div>"
        "<h2>The edge's ports</h2><p><a href='/api/player'>Player port</a> · "
        "<a href='/api/operator'>Operator port</a></p>"
        if edge is not None
        else ""
    )
    return build_page(
        "Playgate sandbox",
        f"<p>A simulated Dailymotion that runs on this machine. {links}</p>"
        f"<table class='videos'><tr><th>Video ID<th>Description<th>Result</tr>{rows}</table>"
        f"{about_edge}"
        "<h2>For tests</h2><p>Number of calls: <a href='/__calls'><code>/__calls</code></a>. "
        "To inject faults or hold responses back, see <code>docs/sandbox.md</code>.</p>",
    )


async def open_player(request: web.Request) -> web.Response:
    """Redirect to the edge's player page, with a new token in the URL's fragment."""
    video = request.match_info["video"]
    if video not in request.app[STATE].videos:
        raise web.HTTPNotFound
    links = get_edge(request).mint(MintForm(video=video))
    return web.Response(
        status=302, headers={"Location": links.page_url, "Cache-Control": "no-store"}
    )


async def show_calls(request: web.Request) -> web.Response:
    """Return the number of calls by kind, and the number of calls that are held back."""
    controls = request.app[STATE].controls
    return web.json_response(
        {kind: controls.calls[kind] for kind in CALL_KINDS}
        | {"waiting": {kind: controls.waiting[kind] for kind in CALL_KINDS}}
    )


async def reset_calls(request: web.Request) -> web.Response:
    """Reset all call counters to zero."""
    request.app[STATE].controls.calls.clear()
    return web.Response(status=204)


async def set_fault(request: web.Request) -> web.Response:
    """Inject a fault into a kind of call; the JSON body has the fields of `Fault`."""
    try:
        fields: dict[str, Any] = await request.json()
        fields["headers"] = tuple(dict(fields.get("headers", {})).items())
        fault = Fault(**fields)
    except (TypeError, ValueError, AttributeError):
        text = (
            "This fault is invalid. Send a JSON object with status, body, headers, delay, cut or "
            "times; see docs/sandbox.md.\n"
        )
        return web.Response(status=400, text=text)
    request.app[STATE].controls.set_fault(_read_kind(request), fault)
    return web.Response(status=204)


async def clear_fault(request: web.Request) -> web.Response:
    """Remove the fault of a kind of call."""
    request.app[STATE].controls.set_fault(_read_kind(request), None)
    return web.Response(status=204)


async def hold_calls(request: web.Request) -> web.Response:
    """Hold back the responses to one kind of call.

    They are sent when `?until=N` calls wait, when they are released, or after one minute.
    """
    until = request.query.get("until", "")
    request.app[STATE].controls.hold(_read_kind(request), int(until) if until.isdecimal() else None)
    return web.Response(status=204)


async def release_calls(request: web.Request) -> web.Response:
    """Send the responses of a kind that are held back."""
    request.app[STATE].controls.release(_read_kind(request))
    return web.Response(status=204)


async def expire_access_tokens(request: web.Request) -> web.Response:
    """Expire every access token."""
    request.app[STATE].accounts.access_tokens.clear()
    return web.Response(status=204)


def _read_kind(request: web.Request) -> CallKind:
    for kind in CALL_KINDS:
        if kind == request.match_info["kind"]:
            return kind
    raise web.HTTPNotFound(text=f"Unknown kind of call. Use one of {', '.join(CALL_KINDS)}.\n")
