"""What is known of the request at hand; handlers fill it by reading, one middleware tells it."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from proxy.domain.client_ip import Address
from proxy.domain.reasons import Refusal
from proxy.domain.video import VideoId


@dataclass(slots=True, kw_only=True)
class Trace:
    """One request's story, for its log line and its metrics."""

    request_id: str
    video: VideoId | None = None
    viewer: Address | None = None
    subject: str | None = None
    refusal: Refusal | None = None


TRACE: web.RequestKey[Trace] = web.RequestKey("trace", Trace)
