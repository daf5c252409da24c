"""Whether an answer is one that the port's description has."""

from __future__ import annotations

import re
from http import HTTPStatus

from yarl import URL

from proxy.web import routes
from proxy.web.openapi.operations import operation
from proxy.web.problem import ASKERS, status_of

TABLE = [
    (re.compile(re.sub(r"\{[^}]*\}", ".+", it.path)), it)
    for it in (*routes.PLAYER_PORT, *routes.PLAYER_PAGE, *routes.OPERATOR_PORT)
]


def check_described(method: str, url: str, status: int, reason: str | None) -> None:
    """Fail over an answer that the description of its path does not have."""
    path = URL(url, encoded=True).raw_path
    route = next((it for pattern, it in TABLE if pattern.fullmatch(path)), None)
    if route is None or status in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}:
        return
    described = operation(route.name, method)
    refusals = {(status_of(it, ASKERS.get(route.name, "player")), it) for it in described.refuses}
    assert status in described.gives or (status, reason) in refusals, (method, path, status, reason)
