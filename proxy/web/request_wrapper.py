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
    """Return a route's handler with all that happens around it.

    Not a middleware: aiohttp would resolve the list of middlewares for each request, and prepend
    its own.
    """

    async def answer(request: web.Request) -> web.StreamResponse:
        services = request[SERVICES] = port.services_ref.services
        context = request[CONTEXT] = create_context(request, port)
        mark_active(request.protocol)
        timings.set(context.timings)
        started, status, http = perf_counter(), ABANDONED_STATUS, services.telemetry.metrics.http
        http.in_flight += 1
        try:
            try:
                response = await handler(request)
            except Exception as error:  # noqa: BLE001  # told in the log, and never to the public
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

    return answer


def build_error_response(
    request: web.Request, error: Exception, client: ClientKind
) -> web.Response:
    """Return the response of a refusal; this is the only place that makes one."""
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
            refusal = Refusal(Reason.REQUEST_INVALID, message="The request is too large.")
        case _:  # a bug
            log = request[SERVICES].telemetry.log
            log.error("internal", request_id=context.request_id, exc_info=error)
            refusal = Refusal(Reason.INTERNAL)
    context.record_refusal(refusal)
    accept = ",".join(request.headers.getall(hdrs.ACCEPT, []))
    response = build_problem_response(refusal, context.request_id, client=client, accept=accept)
    if allow:
        response.headers["Allow"] = allow
    return response
