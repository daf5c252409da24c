"""The sandbox's pages about the edge: mint a token, explain one, read both ports' descriptions."""

from collections.abc import Iterator
from html import escape
from typing import Any

from aiohttp import web

from proxy.sandbox.edge_tools import EdgeRefused, EdgeTools, ExplainForm, MintForm, PortName
from proxy.sandbox.html import build_page
from proxy.sandbox.state import STATE

SECURITY_NAMES = {"token": "a token", "token_in_query": "a token", "operator_key": "operator.key"}
PORTS: dict[str, PortName] = {"player": "player", "operator": "operator"}


async def mint_token(request: web.Request) -> web.Response:
    """Mint a token from the form, and show where it plays."""
    edge, form = get_edge(request), await _read_form(request)
    wanted = MintForm(
        video=_get_text(form, "video"), ttl=_get_text(form, "ttl"), ip=_get_text(form, "ip")
    )
    try:
        minted = edge.mint(wanted)
    except EdgeRefused as refused:
        return build_page("No token", f"<p>{escape(str(refused))}</p>{BACK_LINK}", status=400)
    edge.bind_on_first_use(is_on="bind_on_first_use" in form)
    bound = (
        "<p>Links are bound on first use now (<code>tokens.bind_on_first_use</code>): each one without an "
        "address plays in the first network (/24) that plays it, and nowhere else. To end this, "
        "mint again without the tick.</p>"
        if edge.binds_on_first_use()
        else ""
    )
    play = (
        f"<p>Play URL</p><pre>{escape(minted.play_url)}</pre>"
        f"<p><a href='{escape(minted.page_url)}'>Open the player page</a></p>"
        if minted.play_url
        else "<p>A token for every video has no play URL of its own.</p>"
    )
    return build_page(
        "A fresh token",
        f"<p>It expires in {minted.expires_in} seconds.</p>{bound}{play}"
        f"<p>Token</p><pre>{escape(minted.token)}</pre>"
        f"{build_explain_form(ExplainForm(token=minted.play_url or minted.token))}{BACK_LINK}",
    )


async def explain_token(request: web.Request) -> web.Response:
    """Explain the token of the form."""
    edge, form = get_edge(request), await _read_form(request)
    asked = ExplainForm(
        token=_get_text(form, "token"), video=_get_text(form, "video"), ip=_get_text(form, "ip")
    )
    try:
        explained = await edge.explain(asked)
    except EdgeRefused as refused:
        return build_page("Not explained", f"<p>{escape(str(refused))}</p>{BACK_LINK}", status=400)
    rows = "".join(
        f"<tr><td class='{status}'>{status}<td>{escape(name)}<td>{escape(text)}"
        for status, name, text in explained.checks
    )
    content = escape("\n".join(explained.content))
    return build_page(
        "The token, explained",
        f"<p><strong>{escape(explained.conclusion)}</strong></p><pre>{content}</pre>"
        f"<table class='checks'>{rows}</table>{build_explain_form(asked)}{BACK_LINK}",
    )


async def describe_port(request: web.Request) -> web.Response:
    """Show a port's OpenAPI document as tables."""
    port = PORTS.get(request.match_info["port"])
    if port is None:
        raise web.HTTPNotFound
    document = get_edge(request).describe(port)
    about = escape(document["info"]["description"])
    paths = "".join(
        _build_operation(path, method, operation)
        for path, methods in _resolve_references(document["paths"], document).items()
        for method, operation in _list_operations(methods)
    )
    return build_page(
        f"The {port} port",
        f"<p>{about} <a href='{escape(get_edge(request).urls[port])}/openapi.json'>As JSON</a>.</p>"
        f"{paths}{BACK_LINK}",
    )


def build_mint_form(edge: EdgeTools) -> str:
    """Return the form that mints a token."""
    checked = " checked" if edge.binds_on_first_use() else ""
    return (
        "<form method='post' action='/mint'><h2>Mint a token</h2>"
        "<label>Video <input name='video' value='x8demo1' required></label>"
        "<label>Lifetime in seconds <input name='ttl' inputmode='numeric' "
        "placeholder='300'></label>"
        "<label>Viewer's address or network <input name='ip' placeholder='any'></label>"
        f"<label><span><input type='checkbox' name='bind_on_first_use'{checked}> Bind links on first use "
        "(of this edge, for every link)</span></label>"
        "<button>Mint</button></form>"
    )


def build_explain_form(asked: ExplainForm = ExplainForm(token="")) -> str:  # noqa: B008  # frozen
    """Return the form that explains a token, filled in as it was asked before."""
    return (
        "<form method='post' action='/explain'><h2>Explain a token</h2>"
        "<label>Token or URL <textarea name='token' rows='4' required>"
        f"{escape(asked.token)}</textarea></label>"
        f"<label>Video <input name='video' value='{escape(asked.video)}' "
        'placeholder="the URL\'s"></label>'
        f"<label>Viewer's address <input name='ip' value='{escape(asked.ip)}'></label>"
        "<button>Explain</button></form>"
    )


def get_edge(request: web.Request) -> EdgeTools:
    """Return the edge in front of this sandbox."""
    edge = request.app[STATE].edge
    if edge is None:
        raise web.HTTPNotFound(text="No edge runs beside this sandbox.\n")
    return edge


def _list_operations(methods: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the methods of a path; a route that takes every method in the same way, once."""
    operations = {name: it for name, it in methods.items() if name != "parameters"}
    if len({it["summary"] for it in operations.values()}) == 1 and len(operations) > 1:
        yield "any method", next(iter(operations.values()))
        return
    for name, operation in operations.items():
        yield name.upper(), operation


def _resolve_references(node: Any, document: dict[str, Any]) -> Any:
    """Replace every `$ref` by what it refers to."""
    if isinstance(node, list):
        return [_resolve_references(item, document) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target: Any = document
        for name in node["$ref"].removeprefix("#/").split("/"):
            target = target[name]
        return _resolve_references(target, document)
    return {name: _resolve_references(value, document) for name, value in node.items()}


def _build_operation(path: str, method: str, operation: dict[str, Any]) -> str:
    parameters = ", ".join(
        f"<code>{escape(it['name'])}</code>" for it in operation.get("parameters", ())
    )
    needs = {SECURITY_NAMES[name] for option in operation.get("security", ()) for name in option}
    facts = [
        f"Parameters: {parameters}" if parameters else "",
        f"Needs: {escape(', '.join(sorted(needs)))}" if needs else "",
    ]
    rows = "".join(
        f"<tr><td>{status}<td>{escape(answer['description'])}"
        for status, answer in sorted(operation["responses"].items())
    )
    return (
        f"<section><h2><code>{escape(method)} {escape(path)}</code></h2>"
        f"<p>{escape(operation['summary'])}. {'. '.join(filter(None, facts))}</p>"
        f"<table class='answers'>{rows}</table></section>"
    )


async def _read_form(request: web.Request) -> Any:
    if request.content_type not in FORM_TYPES:
        text = "This takes an HTML form. Programs ask the edge: POST /tokens, operator port.\n"
        raise web.HTTPUnsupportedMediaType(text=text)
    try:
        return await request.post()
    except (AssertionError, LookupError, ValueError):  # as aiohttp says what it cannot read
        raise web.HTTPBadRequest(text="This is no form that can be read.\n") from None


def _get_text(form: Any, name: str) -> str:
    value = form.get(name, "")
    return value.strip() if isinstance(value, str) else ""


FORM_TYPES = {"application/x-www-form-urlencoded", "multipart/form-data"}
BACK_LINK = "<p><a href='/'>Back to the videos</a></p>"
