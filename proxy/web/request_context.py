"""The context of a request: its route, its sender, and what its log line says."""

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
    """One request's story, for its log line and its metrics."""

    request_id: str
    peer: Hop | None  # None on a Unix socket, and if the connection is gone already
    is_from_proxy: bool  # a trusted one
    video: VideoId | None = None
    viewer: Address | None = None
    token: Claims | Session | None = None  # verified: the token, or the session that it opened
    refusal: Refusal | None = None
    is_abandoned: bool = False  # in the middle of the response
    is_relayed: bool = False  # although the response is a redirect: to an address of ours
    timings: Timings = field(default_factory=Timings)

    def record_refusal(self, refusal: Refusal) -> None:
        """Keep a refusal without its traceback and its context.

        They hold frames, and those hold the request, which holds this: a cycle that would keep
        whatever the frames had, a playlist of 2 MB, until the collector comes by.
        """
        refusal.__context__ = None
        self.refusal = refusal.with_traceback(None)


CONTEXT: web.RequestKey[RequestContext] = web.RequestKey("context", RequestContext)


@dataclass(frozen=True, slots=True)
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
