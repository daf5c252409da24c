"""Wraps each route: request ID, error responses, common headers, metrics."""

from time import perf_counter

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from proxy.adapters.logs import timings
from proxy.domain.reasons import Reason, Refusal
from proxy.web.answers import complete_head
from proxy.web.connection import Port, note_head, note_response
from proxy.web.context import SERVICES, TRACE, Route
from proxy.web.problem import ClientKind, problem
from proxy.web.reading import read_trace
from proxy.web.telling import ABANDONED, Answered

METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST"})


def observed(route: Route, handler: Handler, port: Port) -> Handler:
    """Return a route's handler with all that happens around it.

    Not a middleware: aiohttp would resolve the list of middlewares for each request, and prepend
    its own.
    """

    async def answer(request: web.Request) -> web.StreamResponse:
        services = request[SERVICES] = port.current.services
        trace = request[TRACE] = read_trace(request, port)
        note_head(request.protocol)
        timings.set(trace.timings)
        started, status, http = perf_counter(), ABANDONED, services.telemetry.metrics.http
        http.in_flight += 1
        try:
            try:
                response = await handler(request)
            except Exception as error:  # noqa: BLE001  # told in the log, and never to the public
                response = refused(request, error, route.client)
            status = ABANDONED if trace.is_abandoned else response.status
            complete_head(request, response, port.headers)
            return response
        finally:
            http.in_flight -= 1
            note_response(request.protocol)
            port.telling.note(
                Answered(
                    route=route,
                    method=request.method if request.method in METHODS else "other",
                    status=status,
                    duration=perf_counter() - started,
                    trace=trace,
                )
            )

    return answer


def refused(request: web.Request, error: Exception, client: ClientKind) -> web.Response:
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
            log = request[SERVICES].telemetry.log
            log.error("internal", request_id=trace.request_id, exc_info=error)
            refusal = Refusal(Reason.INTERNAL)
    trace.refuse(refusal)
    accept = ",".join(request.headers.getall(hdrs.ACCEPT, []))
    response = problem(refusal, trace.request_id, client=client, accept=accept)
    if allow:
        response.headers["Allow"] = allow
    return response
