"""Whether an answer is one that the port's description has."""

from __future__ import annotations

import re

from yarl import URL

from proxy.web import routes
from proxy.web.openapi.operations import operation
from proxy.web.problem import ASKERS, status_of

ANYTHING = re.compile(r"\{\w+:[^}]*\}")
A_PART = re.compile(r"\{\w+\}")
TABLE = [
    (re.compile(A_PART.sub("[^/]+", ANYTHING.sub(".*", it.path))), it)
    for it in (*routes.PLAYER_PORT, *routes.PLAYER_PAGE, *routes.OPERATOR_PORT)
]
OF_ANY_PATH = {"not-found", "method-not-allowed"}


def check_described(method: str, url: str, status: int, reason: str | None) -> None:
    """Fail over an answer that the description of its path does not have."""
    path = URL(url, encoded=True).raw_path
    route = next((it for pattern, it in TABLE if pattern.fullmatch(path)), None)
    if route is None or reason in OF_ANY_PATH:
        return
    described = operation(route.name, method)
    refusals = {(status_of(it, ASKERS.get(route.name, "player")), it) for it in described.refuses}
    is_described = status in described.gives if reason is None else (status, reason) in refusals
    assert is_described, (method, path, status, reason)
