"""What is told of answered requests: their metrics, their log lines."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from proxy.adapters.logs import Logger
from proxy.adapters.metrics import Metrics
from proxy.domain.reasons import Reason
from proxy.domain.video import loggable
from proxy.web.route import Route
from proxy.web.trace import ABANDONED, Trace

PLAYING = frozenset({"GET", "HEAD"})
SERVED = frozenset({"redirected", "relayed", "listed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A request that is answered, or refused, or left by who asked."""

    route: Route
    method: str
    trace: Trace


class Telling:
    """Counts and logs requests behind their answers: all that the loop's last round answered.

    Under load that is less work, too: code that runs again at once is still in the processor's
    caches.
    """

    def __init__(self, metrics: Metrics, log: Logger) -> None:
        self._metrics = metrics
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._untold: list[Answered] = []

    def note(self, answered: Answered) -> None:
        """Have a request told of, soon."""
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
    metrics.requests.labels(route.name, method, str(trace.status)).inc()
    metrics.request_duration.labels(route.name).observe(trace.duration)
    if trace.refusal is not None:
        metrics.denials.labels(reason=trace.refusal.reason).inc()
    if route.is_play and method in PLAYING:
        outcome = _outcome(route.name, trace)
        metrics.plays.labels(outcome=outcome).inc()
        if outcome in SERVED:
            upstream = trace.timings.upstream
            metrics.play_duration.observe(trace.duration)
            metrics.play_part_duration.labels(part="upstream").observe(upstream)
            metrics.play_part_duration.labels(part="edge").observe(
                max(0.0, trace.duration - upstream)
            )
        if trace.viewer is not None:
            metrics.viewers.labels(family=f"ipv{trace.viewer.version}").inc()


def write_line(answered: Answered, log: Logger) -> None:
    """Write a request's line, if it has one."""
    route, trace = answered.route, answered.trace
    if trace.refusal is None and not route.is_logged:
        return
    fields: dict[str, Any] = {
        "request_id": trace.request_id,
        "route": route.name,
        "method": answered.method,
        "status": trace.status,
    }
    if trace.refusal is not None:
        fields["reason"] = str(trace.refusal.reason)
        if trace.refusal.detail:
            fields["detail"] = trace.refusal.detail
    if trace.video is not None:
        fields["video"] = loggable(trace.video)
    if trace.viewer is not None:
        fields["viewer"] = str(trace.viewer)
    if trace.subject is not None:
        fields["subject"] = trace.subject
    if trace.jti is not None:
        fields["jti"] = trace.jti
    if trace.issuer is not None:
        fields["issuer"] = trace.issuer
    fields["duration_ms"] = round(trace.duration * 1000, 2)
    if trace.timings.upstream:
        fields["upstream_ms"] = round(trace.timings.upstream * 1000, 2)
    write = log.warning if trace.status >= HTTPStatus.INTERNAL_SERVER_ERROR else log.info
    write("request", **fields)


def _outcome(route: str, trace: Trace) -> str:
    if trace.status == ABANDONED:
        return "abandoned"
    if trace.refusal is not None and trace.refusal.reason is Reason.RATE_LIMITED:
        return "denied"
    if trace.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "failed"
    if trace.status >= HTTPStatus.BAD_REQUEST:
        return "denied"
    if route == "stream-urls":
        return "listed"
    is_redirect = trace.status >= HTTPStatus.MULTIPLE_CHOICES and not trace.is_relayed
    return "redirected" if is_redirect else "relayed"
