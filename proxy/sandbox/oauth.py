"""The sandbox's token endpoints, and the page on which a user allows access."""

import secrets
from html import escape
from urllib.parse import urlencode

from aiohttp import web

from proxy.sandbox.accounts import PUBLIC_KEY, KeyKind, OAuthError
from proxy.sandbox.html import build_page
from proxy.sandbox.state import STATE, Sandbox, send_fault

Form = dict[str, str]


async def issue_private_token(request: web.Request) -> web.StreamResponse:
    """Handle POST /oauth/v1/token and /v2/token, which accept private API keys."""
    return await _build_token_response(request, "private")


async def issue_public_token(request: web.Request) -> web.StreamResponse:
    """Handle POST /oauth/token, which accepts public API keys."""
    return await _build_token_response(request, "public")


async def _build_token_response(request: web.Request, kind: KeyKind) -> web.StreamResponse:
    sandbox = request.app[STATE]
    # Read the form before a hold: the request takes effect even if the client dies meanwhile.
    form = {name: str(value) for name, value in (await request.post()).items()}
    if (fault := await sandbox.controls.pass_through("token")) is not None:
        return await send_fault(request, fault)
    try:
        tokens = _grant_tokens(sandbox, kind, form)
    except OAuthError as error:
        body = {"error": error.error, "error_description": error.description}
        return web.json_response(body, status=error.status)
    return web.json_response(tokens)


def _grant_tokens(sandbox: Sandbox, kind: KeyKind, form: Form) -> dict[str, object]:
    accounts, now, scope = sandbox.accounts, sandbox.now(), form.get("scope", "")
    grant_type = form.get("grant_type")
    if grant_type not in GRANT_TYPES[kind]:
        description = f"A {kind} key takes grant_type={' or '.join(GRANT_TYPES[kind])}"
        raise OAuthError("unsupported_grant_type", description)
    accounts.check_key(kind, form.get("client_id", ""), form.get("client_secret", ""))
    accounts.check_scope(form.get("client_id", ""), scope)
    if grant_type == "client_credentials":
        return accounts.issue_tokens(scope, now=now)
    if grant_type == "refresh_token":
        return accounts.refresh(_require(form, "refresh_token"), now=now)
    if grant_type == "authorization_code":
        return accounts.exchange_code(
            _require(form, "code"), _require(form, "redirect_uri"), now=now
        )
    accounts.log_in(_require(form, "username"), _require(form, "password"))
    return accounts.issue_tokens(scope, now=now, login=secrets.token_hex(8))


GRANT_TYPES: dict[KeyKind, tuple[str, ...]] = {
    "private": ("client_credentials",),
    "public": ("password", "authorization_code", "refresh_token"),
}


def _require(form: Form, name: str) -> str:
    if name not in form:
        raise OAuthError("invalid_request", f"Missing parameter: {name}", status=422)
    return form[name]


async def show_authorization_page(request: web.Request) -> web.Response:
    """Handle GET /oauth/authorize: show the login page.

    A wrong parameter is shown as an error page; the browser is never redirected with the error.
    """
    if (error_page := _find_problem(request, dict(request.query))) is not None:
        return error_page
    return _build_authorization_page(dict(request.query))


async def handle_decision(request: web.Request) -> web.Response:
    """Handle the submitted login page: redirect back with a code, or with access_denied."""
    sandbox = request.app[STATE]
    form = {name: str(value) for name, value in (await request.post()).items()}
    if (error_page := _find_problem(request, form)) is not None:
        return error_page
    state = {"state": form["state"]} if "state" in form else {}
    if form.get("answer") != "allow":
        return _redirect_back(form, {"error": "access_denied", **state})
    try:
        sandbox.accounts.log_in(form.get("username", ""), form.get("password", ""))
    except OAuthError as error:
        return _build_authorization_page(form, error.description)
    code = sandbox.accounts.authorize(
        form.get("scope", ""), form["redirect_uri"], now=sandbox.now()
    )
    return _redirect_back(form, {"code": code, **state})


def _find_problem(request: web.Request, form: Form) -> web.Response | None:
    callback_url = request.app[STATE].accounts.callback_url
    if form.get("client_id") != PUBLIC_KEY[0]:
        problem = "Unknown client_id. Use the public API key; other keys cannot log in."
    elif form.get("response_type") != "code":
        problem = "response_type must be code."
    elif form.get("redirect_uri") != callback_url:
        problem = f"redirect_uri must be the callback URL of the API key: {callback_url}."
    else:
        return None
    return build_page("Log in", f"<p>{escape(problem)}</p>", status=400)


def _build_authorization_page(form: Form, problem: str = "") -> web.Response:
    hidden_fields = "".join(
        f"<input type='hidden' name='{name}' value='{escape(form[name])}'>"
        for name in ("response_type", "client_id", "redirect_uri", "scope", "state")
        if name in form
    )
    scope = escape(form.get("scope", "") or "none")
    return build_page(
        "Log in",
        f"<p>An application requests access. Scope: <code>{scope}</code>.</p>"
        f"<p role='alert'>{escape(problem)}</p>"
        f"<form method='post' action='/oauth/authorize'>{hidden_fields}"
        "<p><label>User <input name='username' value='publisher'></label>"
        "<p><label>Password <input name='password' type='password'></label>"
        " <small>sandbox-password</small>"
        "<p><button name='answer' value='allow'>Allow</button> "
        "<button name='answer' value='deny'>Deny</button></form>",
    )


def _redirect_back(form: Form, query: Form) -> web.Response:
    uri = form["redirect_uri"]
    location = f"{uri}{'&' if '?' in uri else '?'}{urlencode(query)}"
    return web.Response(status=302, headers={"Location": location})
