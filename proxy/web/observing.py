"""What happens around every request: its id, its answer or its refusal, its headers, its line."""

from __future__ import annotations

from http import HTTPStatus
from time import perf_counter
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from proxy.adapters.logs import Logger, timings
from proxy.adapters.metrics import Metrics
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.video import loggable
from proxy.web.answers import complete_head
from proxy.web.connection import Port, rest
from proxy.web.problem import ASKERS, Asker, problem
from proxy.web.reading import read_trace
from proxy.web.services import SERVICES
from proxy.web.trace import ABANDONED, TRACE, Trace

METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST"})
PLAYING = frozenset({"GET", "HEAD"})
PLAYS = frozenset({"play", "play-file", "stream-urls"})
SERVED = frozenset({"redirected", "relayed", "listed"})
# Of these, successes are counted and not told: the metrics tell them well enough.
QUIET_ROUTES = frozenset(
    {
        "auth",
        "forward-auth",
        "metrics",
        "healthz",
        "readyz",
        "probe",
        "watch",
        "details",
        "asset",
        "openapi",
        "relayed-playlist",
        "relayed-bytes",
    }
)


def observed(route: str, handler: Handler, port: Port) -> Handler:
    """Return a route's handler with all that happens around it.

    Not as a middleware: aiohttp would look up for each request which there are, and put one of its
    own before them.
    """

    async def answer(request: web.Request) -> web.StreamResponse:
        services = request[SERVICES] = port.current.services
        trace = request[TRACE] = read_trace(request, port)
        port.heads.settle(request.protocol)
        timings.set(trace.timings)
        started = perf_counter()
        services.metrics.requests_in_flight += 1
        try:
            try:
                response = await handler(request)
            except Exception as error:  # noqa: BLE001  # told in the log, and never to the public
                response = refused(request, error, asker=ASKERS.get(route, "player"))
            trace.status = ABANDONED if trace.is_abandoned else response.status
            complete_head(request, response, port.headers)
            return response
        finally:
            services.metrics.requests_in_flight -= 1
            rest(request.protocol)
            trace.duration = perf_counter() - started
            method = request.method if request.method in METHODS else "other"
            count(route, method, trace, services.metrics)
            if trace.refusal is not None or route not in QUIET_ROUTES:
                tell(route, method, trace, services.log)

    return answer


def refused(request: web.Request, error: Exception, *, asker: Asker) -> web.Response:
    """Return the response of a refusal; this is the only place that makes one."""
    trace, allow = request[TRACE], ""
    match error:
        case Refusal():
            refusal = error
        case web.HTTPNotFound():
            refusal = Refusal(Reason.NOT_FOUND)
        case web.HTTPMethodNotAllowed():
            refusal = Refusal(Reason.METHOD_NOT_ALLOWED)
            allow = ", ".join(sorted(error.allowed_methods))
        case web.HTTPRequestEntityTooLarge():
            refusal = Refusal(Reason.REQUEST_INVALID, message="The request is too large.")
        case _:  # a bug
            request[SERVICES].log.exception("internal", request_id=trace.request_id, exc_info=error)
            refusal = Refusal(Reason.INTERNAL)
    trace.refuse(refusal)
    response = problem(refusal, trace.request_id, asker=asker)
    if allow:
        response.headers["Allow"] = allow
    return response


def count(route: str, method: str, trace: Trace, metrics: Metrics) -> None:
    """Count an answered request."""
    metrics.requests.labels(route=route, method=method, code=str(trace.status)).inc()
    metrics.request_duration.labels(route=route).observe(trace.duration)
    if trace.refusal is not None:
        metrics.denials.labels(reason=trace.refusal.reason).inc()
    if route in PLAYS and method in PLAYING:
        outcome = _outcome(route, trace)
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


def tell(route: str, method: str, trace: Trace, log: Logger) -> None:
    """Write a request's line."""
    fields: dict[str, Any] = {
        "request_id": trace.request_id,
        "route": route,
        "method": method,
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
