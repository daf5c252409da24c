"""Whether an answer is one that the port's OpenAPI document has."""

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
# Reasons that every path and every request may be refused with.
ANYWHERE = {"not-found", "method-not-allowed"}
ANY_REASON = re.compile(r"\b[Aa]ny reason")
A_PART = re.compile(r"\\\{\w+\\\}")


def paths() -> list[tuple[re.Pattern[str], str, str]]:
    """Return what the path of a request must match, its port and its path in the document."""
    return [
        (
            re.compile(A_PART.sub(".*" if ":" in route.path else "[^/]+", re.escape(described))),
            port,
            described,
        )
        for port, table in TABLES.items()
        for route in table
        for described in [PATH_PATTERN.sub(r"{\1}", route.path)]
    ]


PATHS = paths()


def check_described(
    method: str, url: str, status: int, headers: Mapping[str, str], body: bytes
) -> None:
    """Fail over an answer that the description of its path does not have."""
    path, reason = URL(url, encoded=True).raw_path, headers.get("X-Deny-Reason")
    found = next((it for it in PATHS if it[0].fullmatch(path)), None)
    port = found[1] if found else "player"
    if reason is not None and body and not headers["Content-Type"].startswith("text/html"):
        VALIDATORS[port, "Problem"].validate(json.loads(body))
    if found is None or reason in ANYWHERE:
        return
    responses = responses_of(port, found[2], method)
    if method == "HEAD" and status == 200 and reason is None:
        return
    assert str(status) in responses, (method, path, status, reason)
    described = responses[str(status)]
    if reason is not None:
        assert reason in reasons_of(described), (method, path, status, reason)
    check_headers_and_content(described, headers, body, port)


def responses_of(port: str, path: str, method: str) -> dict[str, Any]:
    """Return the responses of a method; HEAD is described by GET, and so is `any method`."""
    item = DOCUMENTS[port]["paths"][path]
    operation = item.get("get" if method == "HEAD" else method.lower(), item.get("get"))
    return {status: resolve(port, it) for status, it in operation["responses"].items()}


def resolve(port: str, response: dict[str, Any]) -> dict[str, Any]:
    """Return a response in place of a reference to it."""
    name = response.get("$ref", "").rpartition("/")[2]
    return DOCUMENTS[port]["components"]["responses"][name] if name else response


def reasons_of(response: dict[str, Any]) -> set[str]:
    """Return the reasons of a refusal; all where it does not list them."""
    text = response["description"]
    return set(Reason) if ANY_REASON.search(text) else set(text.split(", "))


def check_headers_and_content(
    described: dict[str, Any], headers: Mapping[str, str], body: bytes, port: str
) -> None:
    """Fail over a header that is not described, and content of another form."""
    known = DOCUMENTS[port]["components"]["headers"].keys()
    surplus = (set(headers) & known) - described.get("headers", {}).keys()
    assert surplus <= {"Retry-After"}, surplus
    content = described.get("content", {})
    assert content or not body
    schema = content.get("application/json", {}).get("schema", {})
    name = schema.get("$ref", "").rpartition("/")[2]
    if name and body:
        VALIDATORS[port, name].validate(json.loads(body))
