"""What happens around every request: request id → observe → refusals to responses → headers."""

from __future__ import annotations

from http import HTTPStatus
from time import perf_counter

from aiohttp import web
from aiohttp.typedefs import Handler

from proxy.adapters.logs import Logger, timings
from proxy.adapters.metrics import Metrics
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.video import loggable
from proxy.web.answers import complete_head
from proxy.web.connection import HEADS
from proxy.web.problem import Asker, problem
from proxy.web.reading import request_id_of
from proxy.web.services import CURRENT, SERVICES
from proxy.web.trace import ABANDONED, TRACE, Trace

METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST"})
PLAYING = frozenset({"GET", "HEAD"})
PLAYS = frozenset({"play", "play-file", "stream-urls"})
SERVED = frozenset({"redirected", "relayed", "listed"})
ASKERS: dict[str, Asker] = {"auth": "nginx", "forward-auth": "front-door", "stream-urls": "api"}
# Of these, successes are counted and not told.
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
        "relayed-playlist",
        "relayed-bytes",
    }
)


@web.middleware
async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request its id, count it, time it, and write its line."""
    services = request[SERVICES] = request.app[CURRENT].services
    request.app[HEADS].settle(request.protocol)
    trace = request[TRACE] = Trace(request_id=request_id_of(request))
    timings.set(trace.timings)
    started = perf_counter()
    services.metrics.in_flight.inc()
    try:
        response = await handler(request)
        trace.status = ABANDONED if trace.is_abandoned else response.status
        complete_head(request, response)
        return response
    finally:
        services.metrics.in_flight.dec()
        request.app[HEADS].rest(request.protocol)
        trace.duration = perf_counter() - started
        count(request, services.metrics)
        tell(request, services.log)


@web.middleware
async def refusals_to_responses(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every refusal into its response; this is the only place that does."""
    trace, allow = request[TRACE], ""
    try:
        return await handler(request)
    except Refusal as refusal:
        trace.refusal = refusal
    except web.HTTPNotFound:
        trace.refusal = Refusal(Reason.NOT_FOUND)
    except web.HTTPMethodNotAllowed as error:
        trace.refusal = Refusal(Reason.METHOD_NOT_ALLOWED)
        allow = ", ".join(sorted(error.allowed_methods))
    except web.HTTPRequestEntityTooLarge:
        trace.refusal = Refusal(Reason.REQUEST_INVALID, message="The request is too large.")
    except Exception:  # noqa: BLE001  # a bug: told in the log, and never to the public
        request[SERVICES].log.exception("internal", request_id=trace.request_id)
        trace.refusal = Refusal(Reason.INTERNAL)
    asker = ASKERS.get(route_of(request), "player")
    response = problem(trace.refusal, trace.request_id, asker=asker)
    if allow:
        response.headers["Allow"] = allow
    return response


def route_of(request: web.Request) -> str:
    """Return the route's name from `routes.py`, never a path that a client made up."""
    resource = request.match_info.route.resource
    return (resource.name if resource is not None else None) or "unmatched"


def count(request: web.Request, metrics: Metrics) -> None:
    """Count an answered request."""
    trace, route = request[TRACE], route_of(request)
    method = request.method if request.method in METHODS else "other"
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


def tell(request: web.Request, log: Logger) -> None:
    """Write a request's line, unless it is a success that the metrics tell well enough."""
    trace, route = request[TRACE], route_of(request)
    if trace.refusal is None and route in QUIET_ROUTES:
        return
    fields = {
        "request_id": trace.request_id,
        "route": route,
        "method": request.method if request.method in METHODS else "other",
        "status": trace.status,
        "reason": trace.refusal and str(trace.refusal.reason),
        "detail": trace.refusal and trace.refusal.detail,
        "video": trace.video and loggable(trace.video),
        "viewer": trace.viewer and str(trace.viewer),
        "subject": trace.subject,
        "jti": trace.jti,
        "duration_ms": round(trace.duration * 1000, 2),
        "upstream_ms": round(trace.timings.upstream * 1000, 2) or None,
    }
    write = log.warning if trace.status >= HTTPStatus.INTERNAL_SERVER_ERROR else log.info
    write("request", **{name: value for name, value in fields.items() if value not in {None, ""}})


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
