"""What only operators may ask: metrics and health."""

from datetime import UTC, datetime
from math import isfinite

from aiohttp import web

from proxy.adapters.telemetry import Outage
from proxy.edge.jwks_cache import JwksCache
from proxy.web.services import SERVICES

STATE_OPERATIONS = ("state", "pull")  # the graver first


async def serve_metrics(request: web.Request) -> web.Response:
    """Answer Prometheus."""
    body = request[SERVICES].telemetry.metrics.render()
    return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4"})


async def healthz(_request: web.Request) -> web.Response:
    """Say that the process lives."""
    return web.json_response({"status": "alive"})


async def readyz(request: web.Request) -> web.Response:
    """Say whether players should be sent here, and what is wrong, if anything."""
    services = request[SERVICES]
    health, age = services.telemetry.health, services.revocations.age
    reason, outages = health.not_ready_reason, health.outages
    body = {
        "status": "ready" if reason is None else str(reason),
        "access_token": health.has_access_token,
        "platform": {
            operation: describe_outage(it)
            for operation, it in outages.items()
            if operation not in STATE_OPERATIONS
        },
        "state": next(
            (describe_outage(outages[it]) for it in STATE_OPERATIONS if it in outages), None
        ),
        "revocations_age": round(age, 3) if isfinite(age) else None,
        "issuers": {
            name: _describe_issuer(services.issuers, name) for name in services.issuers.published
        },
        "settings": {
            "digest": services.settings_digest,
            "since": format_time(health.settings_status.loaded_at),
            "problems": health.settings_status.problems,
            "need_restart": health.settings_status.need_restart,
        },
    }
    return web.json_response(body, status=200 if reason is None else reason.status)


def describe_outage(outage: Outage) -> dict[str, str]:
    """Return a outage as /readyz tells it."""
    return {
        "reason": str(outage.reason),
        "message": outage.reason.message,
        "detail": outage.detail,
        "since": format_time(outage.since),
    }


def _describe_issuer(issuers: JwksCache, name: str) -> dict[str, str | float | int | None]:
    known = issuers.published[name]
    age = issuers.compute_age(known)
    return {
        "keys": len(known.keys),
        "age": None if age is None else round(age, 3),
        "error": known.error or None,
    }


def format_time(seconds: float) -> str:
    """Return a moment as people read it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
