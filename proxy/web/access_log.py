"""Counts and logs finished requests."""

import asyncio
from http import HTTPStatus
from typing import Any, NamedTuple

from proxy.adapters.logs import Logger
from proxy.adapters.metrics import Metrics
from proxy.adapters.telemetry import Telemetry
from proxy.domain.reasons import Reason
from proxy.domain.video import to_loggable_id
from proxy.web.request_context import RequestContext, Route

ABANDONED_STATUS = 499  # nginx's status for a client that disconnected before the response
PLAY_METHODS = frozenset({"GET", "HEAD"})
SERVED_OUTCOMES = frozenset({"redirected", "relayed", "listed"})


class FinishedRequest(NamedTuple):
    """A finished, refused or abandoned request; duration in seconds."""

    route: Route
    method: str
    status: int
    duration: float
    context: RequestContext


class AccessLog:
    """Counts and logs finished requests in batches, after their responses are sent.

    Batches also cost less under load: code that runs repeatedly stays in the processor's caches.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        self._metrics = telemetry.metrics
        self._log = telemetry.log
        self._loop = asyncio.get_running_loop()
        self._queue: list[FinishedRequest] = []

    def add(self, finished: FinishedRequest) -> None:
        """Queue a finished request for logging."""
        if not self._queue:
            self._loop.call_soon(self._process_queue)
        self._queue.append(finished)

    def _process_queue(self) -> None:
        batch, self._queue = self._queue, []
        for finished in batch:
            try:
                count_request(finished, self._metrics)
                write_log_line(finished, self._log)
            except Exception:  # noqa: BLE001  # a bug must not keep the rest of the batch unlogged
                request_id = finished.context.request_id
                self._log.exception("internal", task="access-log", request_id=request_id)


def count_request(finished: FinishedRequest, metrics: Metrics) -> None:
    """Update the metrics of requests, refusals and plays with a finished request."""
    route, method, context = finished.route, finished.method, finished.context
    metrics.http.requests.labels(route.name, method, str(finished.status)).inc()
    metrics.http.duration.labels(route.name).observe(finished.duration)
    if context.refusal is not None:
        metrics.http.refusals.labels(reason=context.refusal.reason).inc()
    if route.is_play and method in PLAY_METHODS:
        plays, outcome = metrics.plays, _classify_play(finished)
        plays.total.labels(outcome=outcome).inc()
        if outcome in SERVED_OUTCOMES:
            upstream = context.timings.upstream
            plays.duration.observe(finished.duration)
            plays.part_duration.labels(part="upstream").observe(upstream)
            plays.part_duration.labels(part="edge").observe(max(0.0, finished.duration - upstream))
        if context.viewer is not None:
            plays.viewers.labels(family=f"ipv{context.viewer.version}").inc()


def write_log_line(finished: FinishedRequest, log: Logger) -> None:
    """Log a finished request if it was refused or if its route logs successes."""
    route, context = finished.route, finished.context
    if context.refusal is None and not route.is_logged:
        return
    fields: dict[str, Any] = {
        "request_id": context.request_id,
        "route": route.name,
        "method": finished.method,
        "status": finished.status,
    }
    if context.refusal is not None:
        fields["reason"] = str(context.refusal.reason)
        if context.refusal.detail:
            fields["detail"] = context.refusal.detail
    if context.video is not None:
        fields["video"] = to_loggable_id(context.video)
    if context.viewer is not None:
        fields["viewer"] = str(context.viewer)
    if (token := context.token) is not None:
        claims = {"subject": token.subject, "jti": token.jti, "issuer": token.issuer}
        fields |= {name: value for name, value in claims.items() if value is not None}
    fields["duration_ms"] = round(finished.duration * 1000, 2)
    if context.timings.upstream:
        fields["upstream_ms"] = round(context.timings.upstream * 1000, 2)
    write = log.warning if finished.status >= HTTPStatus.INTERNAL_SERVER_ERROR else log.info
    write("request", **fields)


def _classify_play(finished: FinishedRequest) -> str:
    status, context = finished.status, finished.context
    if status == ABANDONED_STATUS:
        return "abandoned"
    if context.refusal is not None and context.refusal.reason is Reason.RATE_LIMITED:
        return "refused"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "failed"
    if status >= HTTPStatus.BAD_REQUEST:
        return "refused"
    if finished.route.name == "stream-urls":
        return "listed"
    is_redirect = status >= HTTPStatus.MULTIPLE_CHOICES and not context.is_relayed
    return "redirected" if is_redirect else "relayed"
