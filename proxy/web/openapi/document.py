"""The description itself, of one port: made once, served as it is."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from aiohttp import hdrs, web

from proxy.domain.reasons import Reason
from proxy.web.openapi import schemas
from proxy.web.openapi.operations import JSON, OPERATIONS, Given, Operation, Shown, operation
from proxy.web.problem import ASKERS, PEOPLE, status_of

if TYPE_CHECKING:
    from proxy.web.routes import Route

DESCRIPTION: web.AppKey[bytes] = web.AppKey("description", bytes)

VERSION = "1"  # of what is described; the product's is nobody's business
TAKEN = [it.takes for it in OPERATIONS.values() if it.takes is not None]
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")  # all it knows
ABOUT = (
    "Every refusal has a reason: in X-Deny-Reason, in the body, in the log. Other methods get 405 "
    "method-not-allowed with Allow, other paths 404 not-found, what is no HTTP 400."
)
PATTERN = re.compile(r"\{(\w+):[^}]*\}")
SECURITY: dict[Shown, list[dict[str, list[str]]]] = {
    "nothing": [],
    "token": [{"token": []}, {"token_in_query": []}],
    "question": [{"token": []}, {}],  # mostly the original URI has it
    "operator-key": [{"operator_key": []}],
}
SCHEMES = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "In the cookie that tokens.cookie names, too.",
    },
    "token_in_query": {"type": "apiKey", "in": "query", "name": "token"},
    "operator_key": {"type": "http", "scheme": "bearer", "description": "operator.key"},
}
PATHS = frozenset({Reason.NOT_FOUND})  # what is put into a path may make it another one


async def openapi(request: web.Request) -> web.Response:
    """Answer with the description of the port."""
    return web.Response(body=request.app[DESCRIPTION], content_type=JSON)


def describe(title: str, routes: Iterable[Route]) -> bytes:
    """Return the description of routes, as JSON."""
    document = {
        "openapi": "3.1.0",
        "info": {"title": title, "version": VERSION, "description": ABOUT},
        "paths": {PATTERN.sub(r"{\1}", route.path): described(route) for route in routes},
        "components": {
            "schemas": {**schemas.NAMED, **{it.__name__: it.model_json_schema() for it in TAKEN}},
            "headers": {
                name: {"description": text, "schema": schemas.TEXT}
                for name, text in schemas.HEADERS.items()
            },
            "securitySchemes": SCHEMES,
        },
    }
    return json.dumps(document).encode()


def described(route: Route) -> dict[str, Any]:
    """Return a path: its parameters, and what each of its methods is for."""
    taken = METHODS if hdrs.METH_ANY in route.handlers else tuple(route.handlers)
    found: dict[str, Any] = {
        method.lower(): operated(operation(route.name, method), route.name, method)
        for method in taken
    }
    if route.name in schemas.IN_PATH:
        found["parameters"] = [schemas.IN_PATH[route.name]]
    return found


def operated(it: Operation, route: str, method: str) -> dict[str, Any]:
    """Return what a method of a path is for."""
    reasons = it.refuses | (PATHS if route in schemas.IN_PATH else frozenset())
    refused: dict[int, list[Reason]] = defaultdict(list)
    for reason in Reason:
        if reason in reasons:
            refused[refused_with(reason, route)].append(reason)
    types = ["application/problem+json"]
    if ASKERS.get(route, "player") in PEOPLE:
        types.append("text/html")  # to a browser that asks for it
    answers = {
        str(status): refusal(status, why, [] if method == hdrs.METH_HEAD else types)
        for status, why in sorted(refused.items())
    }
    answers |= {str(status): given(one, method) for status, one in it.gives.items()}
    found: dict[str, Any] = {
        "operationId": f"{method.lower()}-{route}",
        "summary": it.summary,
        "responses": answers,
    }
    if it.parameters:
        found["parameters"] = it.parameters
    if it.takes is not None:
        content = {JSON: {"schema": schemas.reference(it.takes.__name__)}}
        found["requestBody"] = {"required": True, "content": content}
    if it.shown != "nothing":
        found["security"] = SECURITY[it.shown]
    return found


def refused_with(reason: Reason, route: str) -> int:
    """Return the status of a refusal; what is no HTTP is refused before any route is known."""
    if reason is Reason.REQUEST_INVALID:
        return reason.status
    return status_of(reason, ASKERS.get(route, "player"))


def refusal(status: int, reasons: list[Reason], types: list[str]) -> dict[str, Any]:
    """Return the answer that all reasons of one status share, in these media types."""
    more = {
        HTTPStatus.UNAUTHORIZED: (hdrs.WWW_AUTHENTICATE,),
        HTTPStatus.TOO_MANY_REQUESTS: (hdrs.RETRY_AFTER,),
        HTTPStatus.SERVICE_UNAVAILABLE: (hdrs.RETRY_AFTER,),
    }.get(HTTPStatus(status), ())
    schema = {"schema": schemas.reference("Problem")}
    content = {name: {} if name == "text/html" else schema for name in types}
    return {
        "description": ", ".join(reasons),
        "headers": headers(("X-Deny-Reason", *more)),
        **({"content": content} if content else {}),
    }


def given(it: Given, method: str) -> dict[str, Any]:
    """Return an answer that is no refusal; one to a HEAD has no content."""
    found: dict[str, Any] = {"description": it.text, "headers": headers(it.headers)}
    if it.media_type and method != hdrs.METH_HEAD:
        found["content"] = {it.media_type: {"schema": it.schema} if it.schema else {}}
    return found


def headers(names: Iterable[str]) -> dict[str, Any]:
    """Return headers that an answer may have."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-Id", *names)}
