"""Metrics and health endpoints of the operator port."""

from datetime import UTC, datetime
from math import isfinite

from aiohttp import web

from proxy.adapters.telemetry import Outage
from proxy.edge.jwks_cache import JwksCache
from proxy.web.services import SERVICES

STATE_OPERATIONS = ("state", "pull")  # the more serious first


async def serve_metrics(request: web.Request) -> web.Response:
    """Serve all metrics in the Prometheus text format."""
    body = request[SERVICES].telemetry.metrics.render()
    return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4"})


async def serve_healthz(_request: web.Request) -> web.Response:
    """Report that the process is alive."""
    return web.json_response({"status": "alive"})


async def serve_readyz(request: web.Request) -> web.Response:
    """Report whether this instance can take traffic, and list its current problems."""
    services = request[SERVICES]
    health, age = services.telemetry.health, services.revocations.age
    reason, outages = health.not_ready_reason, health.outages
    body = {
        "status": "ready" if reason is None else str(reason),
        "access_token": health.has_access_token,
        "platform": {
            operation: format_outage(outage)
            for operation, outage in outages.items()
            if operation not in STATE_OPERATIONS
        },
        "state": next(
            (
                format_outage(outages[operation])
                for operation in STATE_OPERATIONS
                if operation in outages
            ),
            None,
        ),
        "revocations_age": round(age, 3) if isfinite(age) else None,
        "issuers": {
            name: _format_issuer(services.issuers, name) for name in services.issuers.published
        },
        "settings": {
            "digest": services.settings_digest,
            "since": format_time(health.settings_status.loaded_at),
            "problems": health.settings_status.problems,
            "need_restart": health.settings_status.need_restart,
        },
    }
    return web.json_response(body, status=200 if reason is None else reason.status)


def format_outage(outage: Outage) -> dict[str, str]:
    """Return an outage as /readyz reports it."""
    return {
        "reason": str(outage.reason),
        "message": outage.reason.message,
        "detail": outage.detail,
        "since": format_time(outage.since),
    }


def _format_issuer(issuers: JwksCache, name: str) -> dict[str, str | float | int | None]:
    published = issuers.published[name]
    age = issuers.compute_age(published)
    return {
        "keys": len(published.keys),
        "age": None if age is None else round(age, 3),
        "error": published.error or None,
    }


def format_time(seconds: float) -> str:
    """Format seconds since 1970 as ISO 8601 in UTC, without fractions of a second."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
