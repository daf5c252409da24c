"""Check responses of the edge against the OpenAPI document of their port."""

import json
import re
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator
from yarl import URL

from proxy.domain.reasons import Reason
from proxy.web import routes
from proxy.web.openapi import PATH_PATTERN, read_document

TABLES = {
    "player": (*routes.PLAYER_PORT, *routes.PLAYER_PAGE),
    "operator": routes.OPERATOR_PORT,
}
DOCUMENTS: dict[str, dict[str, Any]] = {
    port: json.loads(read_document(port, [route.path for route in table]))
    for port, table in TABLES.items()
}
VALIDATORS = {
    (port, name): Draft202012Validator({**document, "$ref": f"#/components/schemas/{name}"})
    for port, document in DOCUMENTS.items()
    for name in document["components"]["schemas"]
}
# Reasons that can refuse any request; the document does not list them per path.
UNLISTED_REASONS = {"not-found", "method-not-allowed"}
ANY_REASON = re.compile(r"\b[Aa]ny reason")
PATH_PARAMETER = re.compile(r"\\\{\w+\\\}")


def build_paths() -> list[tuple[re.Pattern[str], str, str]]:
    """Return, for each route: the pattern of its paths, its port, and its path in the document."""
    return [
        (
            re.compile(
                PATH_PARAMETER.sub(".*" if ":" in route.path else "[^/]+", re.escape(described))
            ),
            port,
            described,
        )
        for port, table in TABLES.items()
        for route in table
        for described in [PATH_PATTERN.sub(r"{\1}", route.path)]
    ]


PATHS = build_paths()


def check_response(
    method: str, url: str, status: int, headers: Mapping[str, str], body: bytes
) -> None:
    """Check that the document describes a response.

    Raises:
        AssertionError: the status, reason, header or content is not described for this path.
        ValidationError: the JSON body does not match its schema.
    """
    path, reason = URL(url, encoded=True).raw_path, headers.get("X-Deny-Reason")
    matching = next((entry for entry in PATHS if entry[0].fullmatch(path)), None)
    port = matching[1] if matching else "player"
    if reason is not None and body and not headers["Content-Type"].startswith("text/html"):
        VALIDATORS[port, "Problem"].validate(json.loads(body))
    if matching is None or reason in UNLISTED_REASONS:
        return
    responses = find_responses(port, matching[2], method)
    if method == "HEAD" and status == 200 and reason is None:
        return
    assert str(status) in responses, (method, path, status, reason)
    described = responses[str(status)]
    if reason is not None:
        assert reason in read_reasons(described), (method, path, status, reason)
    check_headers_and_content(described, headers, body, port)


def find_responses(port: str, path: str, method: str) -> dict[str, Any]:
    """Return a method's responses by status; GET also describes HEAD and "any method"."""
    item = DOCUMENTS[port]["paths"][path]
    operation = item.get("get" if method == "HEAD" else method.lower(), item.get("get"))
    return {status: resolve(port, response) for status, response in operation["responses"].items()}


def resolve(port: str, response: dict[str, Any]) -> dict[str, Any]:
    """Return a response, following a `$ref` to it."""
    name = response.get("$ref", "").rpartition("/")[2]
    return DOCUMENTS[port]["components"]["responses"][name] if name else response


def read_reasons(response: dict[str, Any]) -> set[str]:
    """Return the reasons that a refusal's description lists, or all for "any reason"."""
    text = response["description"]
    return set(Reason) if ANY_REASON.search(text) else set(text.split(", "))


def check_headers_and_content(
    described: dict[str, Any], headers: Mapping[str, str], body: bytes, port: str
) -> None:
    """Check the headers and the content of a response against its description."""
    documented = DOCUMENTS[port]["components"]["headers"].keys()
    undescribed = (set(headers) & documented) - described.get("headers", {}).keys()
    assert undescribed <= {"Retry-After"}, undescribed
    content = described.get("content", {})
    assert content or not body
    schema = content.get("application/json", {}).get("schema", {})
    name = schema.get("$ref", "").rpartition("/")[2]
    if name and body:
        VALIDATORS[port, name].validate(json.loads(body))
