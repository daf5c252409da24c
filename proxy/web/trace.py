"""What is known of the request at hand; handlers fill it by reading, `telling` tells it."""

from __future__ import annotations

from dataclasses import dataclass, field

from aiohttp import web

from proxy.adapters.logs import Timings
from proxy.domain.client_ip import Address, Hop
from proxy.domain.reasons import Refusal
from proxy.domain.video import VideoId

ABANDONED = 499  # nginx's number for a client that left before its answer


@dataclass(slots=True, kw_only=True)
class Trace:
    """One request's story, for its log line and its metrics."""

    request_id: str
    peer: Hop | None  # None on a Unix socket, and where the connection is gone already
    is_from_proxy: bool  # a trusted one
    video: VideoId | None = None
    viewer: Address | None = None
    subject: str | None = None
    jti: str | None = None
    issuer: str | None = None  # whose subject and jti they are
    refusal: Refusal | None = None
    status: int = ABANDONED  # until there is an answer
    is_abandoned: bool = False  # in the middle of one
    is_relayed: bool = False  # although the answer is a redirect: to an address of ours
    duration: float = 0.0  # seconds
    timings: Timings = field(default_factory=Timings)

    def refuse(self, refusal: Refusal) -> None:
        """Keep a refusal without its traceback and its context.

        They hold frames, and those hold the request, which holds this: a cycle that would keep
        whatever the frames had, a playlist of 2 MB, until the collector comes by.
        """
        refusal.__context__ = None
        self.refusal = refusal.with_traceback(None)


TRACE: web.RequestKey[Trace] = web.RequestKey("trace", Trace)
