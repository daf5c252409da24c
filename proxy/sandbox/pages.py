"""The sandbox's own pages: every video with a fresh link, and the switches for tests."""

from html import escape
from typing import Any

from aiohttp import web

from proxy.sandbox.controls import CALL_KINDS, CallKind, Fault
from proxy.sandbox.edge_pages import build_explain_form, build_mint_form, get_edge
from proxy.sandbox.edge_tools import MintForm
from proxy.sandbox.html import build_page
from proxy.sandbox.state import STATE


async def show_index(request: web.Request) -> web.Response:
    """List the videos, each with a link to a player page that has a fresh token."""
    edge = request.app[STATE].edge
    rows = "".join(
        f"<tr><td><a href='/open/{escape(name)}'><code>{escape(name)}</code></a>"
        f"<td>{escape(video.title)}<td><code>{escape(video.expect)}</code>"
        for name, video in request.app[STATE].videos.items()
    )
    links = (
        "Each link opens the edge's player page with a fresh token."
        if edge is not None
        else "No edge runs beside this sandbox, so the links lead nowhere."
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
        f"<p>A Dailymotion that runs on this machine, with the edge in front of it. {links}</p>"
        f"<table class='videos'><tr><th>id<th>what it is<th>what you will see</tr>{rows}</table>"
        f"{about_edge}"
        "<h2>For tests</h2><p>Calls so far: <a href='/__calls'><code>/__calls</code></a>. "
        "Faults and held-back answers: see <code>docs/sandbox.md</code>.</p>",
    )


async def open_player(request: web.Request) -> web.Response:
    """Send the browser to the edge's player page, with a fresh token in the fragment."""
    video = request.match_info["video"]
    if video not in request.app[STATE].videos:
        raise web.HTTPNotFound
    links = get_edge(request).mint(MintForm(video=video))
    return web.Response(
        status=302, headers={"Location": links.page_url, "Cache-Control": "no-store"}
    )


async def show_calls(request: web.Request) -> web.Response:
    """Say how many calls of each kind came, and how many are being held back."""
    controls = request.app[STATE].controls
    return web.json_response(
        {kind: controls.calls[kind] for kind in CALL_KINDS}
        | {"waiting": {kind: controls.waiting[kind] for kind in CALL_KINDS}}
    )


async def reset_calls(request: web.Request) -> web.Response:
    """Count from nought again."""
    request.app[STATE].controls.calls.clear()
    return web.Response(status=204)


async def set_fault(request: web.Request) -> web.Response:
    """Break a kind of call: JSON members `status`, `body`, `headers`, `delay`, `cut`, `times`."""
    try:
        wanted: dict[str, Any] = await request.json()
        wanted["headers"] = tuple(dict(wanted.get("headers", {})).items())
        fault = Fault(**wanted)
    except (TypeError, ValueError, AttributeError):
        return web.Response(
            status=400, text="status, body, headers, delay, cut, times; see docs/sandbox.md\n"
        )
    request.app[STATE].controls.set_fault(_read_kind(request), fault)
    return web.Response(status=204)


async def clear_fault(request: web.Request) -> web.Response:
    """Mend a kind of call."""
    request.app[STATE].controls.set_fault(_read_kind(request), None)
    return web.Response(status=204)


async def hold_calls(request: web.Request) -> web.Response:
    """Hold a kind of answer back until `?until=N` calls wait, or until it is released."""
    until = request.query.get("until", "")
    request.app[STATE].controls.hold(_read_kind(request), int(until) if until.isdecimal() else None)
    return web.Response(status=204)


async def release_calls(request: web.Request) -> web.Response:
    """Let a kind of answer go."""
    request.app[STATE].controls.release(_read_kind(request))
    return web.Response(status=204)


async def expire_access_tokens(request: web.Request) -> web.Response:
    """Forget every access token, as if their hours were over."""
    request.app[STATE].accounts.access_tokens.clear()
    return web.Response(status=204)


def _read_kind(request: web.Request) -> CallKind:
    for kind in CALL_KINDS:
        if kind == request.match_info["kind"]:
            return kind
    raise web.HTTPNotFound(text=f"kinds are {', '.join(CALL_KINDS)}\n")
