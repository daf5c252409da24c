"""Whether an answer is one that the port's description has."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from jsonschema import Draft202012Validator
from yarl import URL

from proxy.web import routes
from proxy.web.openapi import schemas
from proxy.web.openapi.document import refused_with
from proxy.web.openapi.operations import Given, operation

ANYTHING = re.compile(r"\{\w+:[^}]*\}")
A_PART = re.compile(r"\{\w+\}")
TABLE = [
    (re.compile(A_PART.sub("[^/]+", ANYTHING.sub(".*", it.path))), it)
    for it in (*routes.PLAYER_PORT, *routes.PLAYER_PAGE, *routes.OPERATOR_PORT)
]
OF_ANY_PATH = {"not-found", "method-not-allowed"}


VALIDATORS = {name: Draft202012Validator(schema) for name, schema in schemas.NAMED.items()}


def check_described(
    method: str, url: str, status: int, headers: Mapping[str, str], body: bytes
) -> None:
    """Fail over an answer that the description of its path does not have."""
    path, reason = URL(url, encoded=True).raw_path, headers.get("X-Deny-Reason")
    route = next((it for pattern, it in TABLE if pattern.fullmatch(path)), None)
    if reason is not None and body and not headers["Content-Type"].startswith("text/html"):
        VALIDATORS["Problem"].validate(json.loads(body))
    if route is None or reason in OF_ANY_PATH:
        return
    described = operation(route.name, method)
    if reason is not None:
        refusals = {(refused_with(it, route.name), it) for it in described.refuses}
        assert (status, reason) in refusals, (method, path, status, reason)
        return
    assert status in described.gives, (method, path, status)
    check_given(described.gives[status], headers, body)


def check_given(given: Given, headers: Mapping[str, str], body: bytes) -> None:
    """Fail over an answer that is no refusal, and not as described either."""
    assert set(given.headers) >= set(headers) & (schemas.HEADERS.keys() - {"X-Request-Id"})
    assert bool(given.media_type) or not body
    name = str((given.schema or {}).get("$ref", "")).rpartition("/")[2]
    if name and body:
        VALIDATORS[name].validate(json.loads(body))
