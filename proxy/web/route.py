"""What a route is: a path, handlers, and how requests are answered, counted and logged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp.typedefs import Handler

from proxy.web.problem import ClientKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A path with a handler for each method.

    Attributes:
        name: the `route` of metrics and log lines.
        path: the pattern; signed paths stay as they came, nothing is normalized.
        handlers: by method; `*` for any.
        client: who sends such requests, which decides the form of a refusal.
        is_logged: whether successes are logged; refusals always are.
        is_play: whether GET and HEAD count as plays.
    """

    name: str
    path: str
    handlers: Mapping[str, Handler]
    client: ClientKind = "player"
    is_logged: bool = False
    is_play: bool = False
