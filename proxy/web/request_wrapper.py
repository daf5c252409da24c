"""Wraps each route: request ID, error responses, common headers, metrics."""

from time import perf_counter

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from proxy.adapters.timings import timings
from proxy.domain.reasons import Reason, Refusal
from proxy.web.access_log import ABANDONED_STATUS, FinishedRequest
from proxy.web.connection import Port, mark_active, mark_idle
from proxy.web.problem_details import ClientKind, build_problem_response
from proxy.web.request_context import CONTEXT, Route
from proxy.web.request_parsing import create_context
from proxy.web.responses import add_common_headers
from proxy.web.services import SERVICES

KNOWN_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST"})


def wrap_handler(route: Route, handler: Handler, port: Port) -> Handler:
    """Wrap a route's handler with request ID, error responses, common headers and metrics.

    A middleware would cost more: aiohttp resolves the list of middlewares for each request, and
    adds its own.
    """

    async def handle(request: web.Request) -> web.StreamResponse:
        services = request[SERVICES] = port.services_ref.services
        context = request[CONTEXT] = create_context(request, port)
        mark_active(request.protocol)
        timings.set(context.timings)
        started, status, http = perf_counter(), ABANDONED_STATUS, services.telemetry.metrics.http
        http.in_flight += 1
        try:
            try:
                response = await handler(request)
            except Exception as error:  # noqa: BLE001  # logged, but never sent to the client
                response = build_error_response(request, error, route.client)
            status = ABANDONED_STATUS if context.is_abandoned else response.status
            add_common_headers(request, response, port.headers)
            return response
        finally:
            http.in_flight -= 1
            mark_idle(request.protocol)
            port.access_log.add(
                FinishedRequest(
                    route=route,
                    method=request.method if request.method in KNOWN_METHODS else "other",
                    status=status,
                    duration=perf_counter() - started,
                    context=context,
                )
            )

    return handle


def build_error_response(
    request: web.Request, error: Exception, client: ClientKind
) -> web.Response:
    """Build the response to an exception that a handler raised, and record the refusal.

    A Refusal keeps its reason, and aiohttp's own errors get the matching reason. Any other
    exception is a bug: it is logged with its traceback, and the response says `internal`.
    """
    context, allow = request[CONTEXT], ""
    match error:
        case Refusal():
            refusal = error
        case web.HTTPNotFound():
            refusal = Refusal(Reason.NOT_FOUND)
        case web.HTTPMethodNotAllowed():
            refusal = Refusal(Reason.METHOD_NOT_ALLOWED)
            allow = ", ".join(sorted(error.allowed_methods))
        case web.HTTPRequestEntityTooLarge():
            message = "The request body is too large. Send a smaller body."
            refusal = Refusal(Reason.REQUEST_INVALID, message=message)
        case _:  # a bug in the edge
            log = request[SERVICES].telemetry.log
            log.error("internal", request_id=context.request_id, exc_info=error)
            refusal = Refusal(Reason.INTERNAL)
    context.record_refusal(refusal)
    accept = ",".join(request.headers.getall(hdrs.ACCEPT, []))
    response = build_problem_response(refusal, context.request_id, client=client, accept=accept)
    if allow:
        response.headers["Allow"] = allow
    return response
