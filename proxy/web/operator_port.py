"""What only operators may ask: metrics and health."""

from datetime import UTC, datetime
from math import isfinite

from aiohttp import web

from proxy.adapters.telemetry import Trouble
from proxy.edge.keys import Issuers
from proxy.web.context import SERVICES

STATE = ("state", "pull")  # the graver first


async def metrics(request: web.Request) -> web.Response:
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
    reason, troubles = health.not_ready, health.troubles
    body = {
        "status": "ready" if reason is None else str(reason),
        "access_token": health.has_access_token,
        "platform": {
            operation: describe(it) for operation, it in troubles.items() if operation not in STATE
        },
        "state": next((describe(troubles[it]) for it in STATE if it in troubles), None),
        "revocations_age": round(age, 3) if isfinite(age) else None,
        "issuers": {
            name: _describe_issuer(services.issuers, name) for name in services.issuers.published
        },
        "settings": {
            "digest": services.settings_digest,
            "since": moment(health.loaded.at),
            "problems": health.loaded.problems,
            "need_restart": health.loaded.need_restart,
        },
    }
    return web.json_response(body, status=200 if reason is None else reason.status)


def describe(trouble: Trouble) -> dict[str, str]:
    """Return a trouble as /readyz tells it."""
    return {
        "reason": str(trouble.reason),
        "message": trouble.reason.message,
        "detail": trouble.detail,
        "since": moment(trouble.since),
    }


def _describe_issuer(issuers: Issuers, name: str) -> dict[str, str | float | int | None]:
    known = issuers.published[name]
    age = issuers.age(known)
    return {
        "keys": len(known.keys),
        "age": None if age is None else round(age, 3),
        "trouble": known.trouble or None,
    }


def moment(seconds: float) -> str:
    """Return a moment as people read it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
