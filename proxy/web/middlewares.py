"""What happens around every request: request id → observe → refusals to responses → headers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from time import perf_counter

from aiohttp import web

from proxy.adapters.logs import Timings, timings
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.video import loggable
from proxy.web.problem import problem
from proxy.web.reading import request_id_of
from proxy.web.services import SERVICES, Services
from proxy.web.trace import TRACE, Trace

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Middleware = Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]

METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST"})
ABANDONED = 499  # nginx's number for a client that left before its answer
QUIET_ROUTES = frozenset({"auth", "metrics", "healthz", "readyz", "asset"})  # successes: metrics have them


@web.middleware
async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request its id, count it, time it, and write its line."""
    services = request.app[SERVICES]
    trace = request[TRACE] = Trace(request_id=request_id_of(request))
    spent = Timings()
    timings.set(spent)
    status = ABANDONED
    started = perf_counter()
    services.metrics.in_flight.inc()
    try:
        response = await handler(request)
        status = response.status
        response.headers["X-Request-Id"] = trace.request_id
        if services.health.draining:
            response.force_close()
        return response
    finally:
        services.metrics.in_flight.dec()
        _tell(request, services, trace, status, perf_counter() - started, spent)


@web.middleware
async def refusals_to_responses(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every refusal into its response; this is the only place that does."""
    trace = request[TRACE]
    try:
        return await handler(request)
    except Refusal as refusal:
        trace.refusal = refusal
        return problem(refusal, trace.request_id, for_subrequest=route_of(request) == "auth")
    except web.HTTPMethodNotAllowed as error:
        trace.refusal = Refusal(Reason.METHOD_NOT_ALLOWED)
        response = problem(trace.refusal, trace.request_id)
        response.headers["Allow"] = ", ".join(sorted(error.allowed_methods))
        return response
    except web.HTTPNotFound:
        trace.refusal = Refusal(Reason.NOT_FOUND)
        return problem(trace.refusal, trace.request_id)
    except web.HTTPRequestEntityTooLarge:
        trace.refusal = Refusal(Reason.REQUEST_INVALID, message="The request is too large.")
        return problem(trace.refusal, trace.request_id)
    except Exception:
        request.app[SERVICES].log.exception("internal", request_id=trace.request_id)
        trace.refusal = Refusal(Reason.INTERNAL)
        return problem(
            trace.refusal, trace.request_id, for_subrequest=route_of(request) == "auth"
        )


def with_headers(headers: Mapping[str, str]) -> Middleware:
    """Return a middleware that adds a port's headers to each of its answers."""

    @web.middleware
    async def add_headers(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        for name, value in headers.items():
            response.headers.setdefault(name, value)
        return response

    return add_headers


def route_of(request: web.Request) -> str:
    """Return the route's name from `routes.py`, never a path that a client made up."""
    resource = request.match_info.route.resource
    return (resource.name if resource is not None else None) or "unmatched"


def _tell(
    request: web.Request,
    services: Services,
    trace: Trace,
    status: int,
    duration: float,
    spent: Timings,
) -> None:
    route = route_of(request)
    method = request.method if request.method in METHODS else "other"
    metrics = services.metrics
    metrics.requests.labels(route=route, method=method, code=str(status)).inc()
    metrics.request_duration.labels(route=route).observe(duration)
    if trace.refusal is not None:
        metrics.denials.labels(reason=trace.refusal.reason).inc()
    if route == "play" and method != "OPTIONS":
        metrics.plays.labels(outcome=_outcome(status)).inc()
        if trace.viewer is not None:
            metrics.viewers.labels(family=f"ipv{trace.viewer.version}").inc()
    if trace.refusal is None and route in QUIET_ROUTES:
        return
    fields = {
        "request_id": trace.request_id,
        "route": route,
        "method": method,
        "status": status,
        "reason": trace.refusal and str(trace.refusal.reason),
        "detail": trace.refusal and trace.refusal.detail,
        "video": trace.video and loggable(trace.video),
        "viewer": trace.viewer and str(trace.viewer),
        "subject": trace.subject,
        "duration_ms": round(duration * 1000, 2),
        "upstream_ms": round(spent.upstream * 1000, 2) if spent.upstream else None,
    }
    tell = services.log.warning if status >= HTTPStatus.INTERNAL_SERVER_ERROR else services.log.info
    tell("request", **{name: value for name, value in fields.items() if value is not None and value != ""})


def _outcome(status: int) -> str:
    if status == ABANDONED:
        return "abandoned"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "failed"
    return "denied" if status >= HTTPStatus.BAD_REQUEST else "redirected"
