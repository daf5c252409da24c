"""Counts and logs finished requests."""

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from proxy.adapters.logs import Logger
from proxy.adapters.metrics import Metrics
from proxy.adapters.telemetry import Telemetry
from proxy.domain.reasons import Reason
from proxy.domain.video import loggable
from proxy.web.context import Route, Trace

ABANDONED = 499  # nginx's number for a client that left before its answer
PLAYING = frozenset({"GET", "HEAD"})
SERVED = frozenset({"redirected", "relayed", "listed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A finished, refused or abandoned request; duration in seconds."""

    route: Route
    method: str
    status: int
    duration: float
    trace: Trace


class Telling:
    """Counts and logs requests in batches, after their responses.

    Under load that is less work, too: code that runs again at once is still in the processor's
    caches.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        self._metrics = telemetry.metrics
        self._log = telemetry.log
        self._loop = asyncio.get_running_loop()
        self._untold: list[Answered] = []

    def note(self, answered: Answered) -> None:
        """Queue a finished request for logging."""
        if not self._untold:
            self._loop.call_soon(self._catch_up)
        self._untold.append(answered)

    def _catch_up(self) -> None:
        untold, self._untold = self._untold, []
        for answered in untold:
            try:
                count(answered, self._metrics)
                write_line(answered, self._log)
            except Exception:  # noqa: BLE001  # a bug: it must not keep the others untold
                request_id = answered.trace.request_id
                self._log.exception("internal", task="telling", request_id=request_id)


def count(answered: Answered, metrics: Metrics) -> None:
    """Count an answered request."""
    route, method, trace = answered.route, answered.method, answered.trace
    metrics.http.requests.labels(route.name, method, str(answered.status)).inc()
    metrics.http.duration.labels(route.name).observe(answered.duration)
    if trace.refusal is not None:
        metrics.http.denials.labels(reason=trace.refusal.reason).inc()
    if route.is_play and method in PLAYING:
        plays, outcome = metrics.plays, _outcome(answered)
        plays.total.labels(outcome=outcome).inc()
        if outcome in SERVED:
            upstream = trace.timings.upstream
            plays.duration.observe(answered.duration)
            plays.part_duration.labels(part="upstream").observe(upstream)
            plays.part_duration.labels(part="edge").observe(max(0.0, answered.duration - upstream))
        if trace.viewer is not None:
            plays.viewers.labels(family=f"ipv{trace.viewer.version}").inc()


def write_line(answered: Answered, log: Logger) -> None:
    """Write a request's line, if it has one."""
    route, trace = answered.route, answered.trace
    if trace.refusal is None and not route.is_logged:
        return
    fields: dict[str, Any] = {
        "request_id": trace.request_id,
        "route": route.name,
        "method": answered.method,
        "status": answered.status,
    }
    if trace.refusal is not None:
        fields["reason"] = str(trace.refusal.reason)
        if trace.refusal.detail:
            fields["detail"] = trace.refusal.detail
    if trace.video is not None:
        fields["video"] = loggable(trace.video)
    if trace.viewer is not None:
        fields["viewer"] = str(trace.viewer)
    if (token := trace.token) is not None:
        names = {"subject": token.subject, "jti": token.jti, "issuer": token.issuer}
        fields |= {name: value for name, value in names.items() if value is not None}
    fields["duration_ms"] = round(answered.duration * 1000, 2)
    if trace.timings.upstream:
        fields["upstream_ms"] = round(trace.timings.upstream * 1000, 2)
    write = log.warning if answered.status >= HTTPStatus.INTERNAL_SERVER_ERROR else log.info
    write("request", **fields)


def _outcome(answered: Answered) -> str:
    status, trace = answered.status, answered.trace
    if status == ABANDONED:
        return "abandoned"
    if trace.refusal is not None and trace.refusal.reason is Reason.RATE_LIMITED:
        return "denied"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "failed"
    if status >= HTTPStatus.BAD_REQUEST:
        return "denied"
    if answered.route.name == "stream-urls":
        return "listed"
    is_redirect = status >= HTTPStatus.MULTIPLE_CHOICES and not trace.is_relayed
    return "redirected" if is_redirect else "relayed"
