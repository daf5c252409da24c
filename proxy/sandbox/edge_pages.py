"""The sandbox's pages that mint tokens, explain tokens and describe the edge's ports."""

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
    """Mint a token from the form, and show its links."""
    edge, fields = get_edge(request), await _read_form(request)
    form = MintForm(
        video=_get_text(fields, "video"), ttl=_get_text(fields, "ttl"), ip=_get_text(fields, "ip")
    )
    try:
        minted = edge.mint(form)
    except EdgeRefused as error:
        return build_page("No token minted", f"<p>{escape(str(error))}</p>{BACK_LINK}", status=400)
    edge.bind_on_first_use(is_on="bind_on_first_use" in fields)
    binding = (
        "<p>The edge now binds links on first use (<code>tokens.bind_on_first_use</code>): a link "
        "without an address plays only in the first network (/24) that plays it. To turn this off, "
        "mint a token with the box unchecked.</p>"
        if edge.binds_on_first_use()
        else ""
    )
    play = (
        f"<p>Play URL</p><pre>{escape(minted.play_url)}</pre>"
        f"<p><a href='{escape(minted.page_url)}'>Open the player page</a></p>"
        if minted.play_url
        else "<p>This token is valid for every video, so it has no single play URL.</p>"
    )
    return build_page(
        "New token",
        f"<p>It expires in {minted.expires_in} seconds.</p>{binding}{play}"
        f"<p>Token</p><pre>{escape(minted.token)}</pre>"
        f"{build_explain_form(ExplainForm(token=minted.play_url or minted.token))}{BACK_LINK}",
    )


async def explain_token(request: web.Request) -> web.Response:
    """Explain the token that was entered in the form, and show each check."""
    edge, fields = get_edge(request), await _read_form(request)
    form = ExplainForm(
        token=_get_text(fields, "token"),
        video=_get_text(fields, "video"),
        ip=_get_text(fields, "ip"),
    )
    try:
        explained = await edge.explain(form)
    except EdgeRefused as error:
        return build_page("No explanation", f"<p>{escape(str(error))}</p>{BACK_LINK}", status=400)
    rows = "".join(
        f"<tr><td class='{status}'>{status}<td>{escape(name)}<td>{escape(text)}"
        for status, name, text in explained.checks
    )
    content = escape("\n".join(explained.content))
    return build_page(
        "Token explained",
        f"<p><strong>{escape(explained.conclusion)}</strong></p><pre>{content}</pre>"
        f"<table class='checks'>{rows}</table>{build_explain_form(form)}{BACK_LINK}",
    )


async def show_openapi(request: web.Request) -> web.Response:
    """Show the OpenAPI document of a port as tables."""
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
        f"{port.capitalize()} port",
        f"<p>{about} <a href='{escape(get_edge(request).urls[port])}/openapi.json'>"
        "OpenAPI document</a>.</p>"
        f"{paths}{BACK_LINK}",
    )


def build_mint_form(edge: EdgeTools) -> str:
    """Build the form that mints a token."""
    checked = " checked" if edge.binds_on_first_use() else ""
    return (
        "<form method='post' action='/mint'><h2>Mint a token</h2>"
        "<label>Video <input name='video' value='x8demo1' required></label>"
        "<label>Lifetime in seconds <input name='ttl' inputmode='numeric' "
        "placeholder='300'></label>"
        "<label>IP address or network of the viewer <input name='ip' placeholder='any'></label>"
        f"<label><span><input type='checkbox' name='bind_on_first_use'{checked}> "
        "Bind links on first use (a setting of this edge, for every link)</span></label>"
        "<button>Mint</button></form>"
    )


def build_explain_form(values: ExplainForm = ExplainForm(token="")) -> str:  # noqa: B008  # frozen
    """Build the form that explains a token, filled in with these values."""
    return (
        "<form method='post' action='/explain'><h2>Explain a token</h2>"
        "<label>Token or URL <textarea name='token' rows='4' required>"
        f"{escape(values.token)}</textarea></label>"
        f"<label>Video <input name='video' value='{escape(values.video)}' "
        "placeholder='from the URL'></label>"
        f"<label>IP address of the viewer <input name='ip' value='{escape(values.ip)}'></label>"
        "<button>Explain</button></form>"
    )


def get_edge(request: web.Request) -> EdgeTools:
    """Return the edge in front of this sandbox.

    Raises:
        HTTPNotFound: the sandbox runs without an edge.
    """
    edge = request.app[STATE].edge
    if edge is None:
        raise web.HTTPNotFound(text="This sandbox runs without an edge.\n")
    return edge


def _list_operations(methods: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each method of a path with its operation; identical operations are yielded once."""
    operations = {name: value for name, value in methods.items() if name != "parameters"}
    summaries = {operation["summary"] for operation in operations.values()}
    if len(summaries) == 1 and len(operations) > 1:
        yield "any method", next(iter(operations.values()))
        return
    for name, operation in operations.items():
        yield name.upper(), operation


def _resolve_references(node: Any, document: dict[str, Any]) -> Any:
    """Replace every `$ref` with the object that it refers to."""
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
        f"<code>{escape(parameter['name'])}</code>" for parameter in operation.get("parameters", ())
    )
    credentials = {
        SECURITY_NAMES[name] for option in operation.get("security", ()) for name in option
    }
    facts = [
        f"Parameters: {parameters}" if parameters else "",
        f"Requires: {escape(', '.join(sorted(credentials)))}" if credentials else "",
    ]
    rows = "".join(
        f"<tr><td>{status}<td>{escape(response['description'])}"
        for status, response in sorted(operation["responses"].items())
    )
    return (
        f"<section><h2><code>{escape(method)} {escape(path)}</code></h2>"
        f"<p>{escape(operation['summary'])}. {'. '.join(filter(None, facts))}</p>"
        f"<table class='responses'>{rows}</table></section>"
    )


async def _read_form(request: web.Request) -> Any:
    if request.content_type not in FORM_TYPES:
        text = "This page accepts HTML forms only. Call POST /tokens on the operator port.\n"
        raise web.HTTPUnsupportedMediaType(text=text)
    try:
        return await request.post()
    except (AssertionError, LookupError, ValueError):  # aiohttp's errors for bad forms
        raise web.HTTPBadRequest(text="The form cannot be parsed. Check its encoding.\n") from None


def _get_text(form: Any, name: str) -> str:
    value = form.get(name, "")
    return value.strip() if isinstance(value, str) else ""


FORM_TYPES = {"application/x-www-form-urlencoded", "multipart/form-data"}
BACK_LINK = "<p><a href='/'>Back to the videos</a></p>"
