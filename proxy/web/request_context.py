"""The context of a request: its route, its peer, and the data for its log line and metrics."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.typedefs import Handler

from proxy.adapters.timings import Timings
from proxy.domain.client_ip import Address, Hop
from proxy.domain.reasons import Refusal
from proxy.domain.seal import Session
from proxy.domain.tokens.claims import Claims
from proxy.domain.video import VideoId
from proxy.web.problem_details import ClientKind


@dataclass(slots=True, kw_only=True)
class RequestContext:
    """Data about one request, collected for its log line and its metrics."""

    request_id: str
    peer: Hop | None  # None on a Unix socket, and if the connection is already closed
    is_from_proxy: bool  # the peer is a trusted proxy
    video: VideoId | None = None
    viewer: Address | None = None
    token: Claims | Session | None = None  # the verified token, or the relay session it opened
    refusal: Refusal | None = None
    is_abandoned: bool = False  # the client disconnected during the response
    is_relayed: bool = False  # the response redirects to a relayed file on this edge
    timings: Timings = field(default_factory=Timings)

    def record_refusal(self, refusal: Refusal) -> None:
        """Store a refusal without its traceback and its exception context.

        Both reference frames, and the frames reference the request and this context. Such a cycle
        would keep the frames' locals, such as a playlist of 2 MB, until the garbage collector runs.
        """
        refusal.__context__ = None
        self.refusal = refusal.with_traceback(None)


def create_request_id() -> str:
    """Return a new request ID."""
    return os.urandom(16).hex()


CONTEXT: web.RequestKey[RequestContext] = web.RequestKey("context", RequestContext)


@dataclass(frozen=True, slots=True)
class Route:
    """A URL path and its handlers.

    Attributes:
        name: the value of `route` in metrics and log lines.
        path: the aiohttp path pattern. Sealed paths are matched as sent, without normalization.
        handlers: the handler of each method; `*` for any method.
        client: the kind of client that requests this path. It decides the form of refusals.
        is_logged: whether successful requests are logged; refusals always are.
        is_play: whether GET and HEAD count as plays.
    """

    name: str
    path: str
    handlers: Mapping[str, Handler]
    client: ClientKind = "player"
    is_logged: bool = False
    is_play: bool = False
