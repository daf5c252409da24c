"""Check this machine: settings, the running edge, the shared state, the hosts to reach."""

import asyncio
import socket
import ssl
import stat
from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import aiohttp
from pydantic import BaseModel
from yarl import URL

from proxy.adapters.errors import StateError
from proxy.adapters.telemetry import build_telemetry
from proxy.cli.doctor.findings import PATIENCE, Visit, found, next_step_of
from proxy.cli.operator import connected_to, host_of
from proxy.cli.options import Finding
from proxy.domain.reasons import Reason
from proxy.edge.state import state_unavailable
from proxy.settings.checks import Listen, parse_listen
from proxy.settings.comparing import digest_of
from proxy.settings.file_modes import mode_of
from proxy.settings.rules import warnings_about
from proxy.wiring import FAMILIES, open_state

DAYS_LEFT = 14  # of a certificate, before it is worth a word
OF_THE_ACCOUNT = frozenset({Reason.PLATFORM_CREDENTIALS, Reason.PLATFORM_PERMISSION})
OPEN_TO_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Trouble(BaseModel):
    """A trouble as /readyz tells it."""

    reason: Reason
    detail: str
    since: str


class Loaded(BaseModel):
    """How the settings were last loaded."""

    digest: str
    problems: list[str]
    need_restart: list[str]


class IssuerKeys(BaseModel):
    """What is known of an issuer's keys."""

    trouble: str | None


class Readiness(BaseModel):
    """What is read of /readyz."""

    status: Literal["ready", "starting", "draining"]
    platform: dict[str, Trouble]
    state: Trouble | None
    settings: Loaded
    issuers: dict[str, IssuerKeys]


async def look_at_settings(visit: Visit) -> AsyncGenerator[Finding, None]:
    """Say what the settings give up, or leave unsaid."""
    settings = visit.settings
    platform = settings.platform
    file, mode = visit.file or "environment and defaults", settings.delivery.mode
    yield found("settings-good", file=file, api=platform.api, grant=platform.grant, mode=mode)
    for setting, text in warnings_about(settings, visit.file):
        yield found("settings-warning", name=setting, text=text)
    for flag in platform.given_up:
        yield found(flag)
    if platform.grant == "authorization_code":
        permissions = mode_of(Path(platform.login_file))
        if permissions & OPEN_TO_OTHERS:
            yield found("login-file-readable", file=platform.login_file, mode=permissions)


async def look_at_edge(visit: Visit) -> AsyncGenerator[Finding, None]:
    """Ask the edge's own operator port how it is."""
    listen = parse_listen(visit.settings.operator.listen)
    told = await fetch_readiness(listen)
    if isinstance(told, Finding):
        yield told
        return
    is_settled = not told.settings.problems and not told.settings.need_restart
    is_another = is_settled and told.settings.digest != digest_of(visit.settings)
    if is_another:
        yield found("other-edge", listen=listen)
    for finding in troubles_of(told):
        yield finding
    if told.status != "ready":
        yield found("edge-not-ready", state=told.status, listen=listen)
    elif not told.platform and told.state is None and not told.settings.problems and not is_another:
        yield found("edge-ready", listen=listen)


def troubles_of(told: Readiness) -> Iterator[Finding]:
    """Yield what the edge says is wrong, in the order in which to mend it."""
    if told.settings.need_restart:
        yield found("restart-needed", names=", ".join(told.settings.need_restart))
    is_behind = any(name.startswith("platform.") for name in told.settings.need_restart)
    troubles = {**told.platform, **({} if told.state is None else {"the state": told.state})}
    for operation, trouble in troubles.items():
        detail = f" ({trouble.detail})" if trouble.detail else ""
        step = next_step_of(trouble.reason, trouble.detail)
        if is_behind and trouble.reason in OF_THE_ACCOUNT:
            step = "Restart the edge first: it does not use these settings for Dailymotion yet."
        yield found(
            "edge-trouble",
            operation=operation,
            since=trouble.since,
            reason=trouble.reason,
            detail=detail,
            step=step,
        )
    for problem in told.settings.problems:
        yield found("older-settings", problem=problem)
    for name, issuer in told.issuers.items():
        if issuer.trouble is not None:
            yield found("issuer-trouble", name=name, trouble=issuer.trouble)


async def fetch_readiness(listen: Listen) -> Readiness | Finding:
    """Return what the operator port says, or that no edge answers there."""
    try:
        async with (
            asyncio.timeout(PATIENCE),
            connected_to(listen) as session,
            session.get(f"http://{host_of(listen)}/readyz") as answer,
        ):
            body = await answer.read()
    except TimeoutError:
        return found("edge-hangs", listen=listen)
    except aiohttp.ClientConnectorError:
        return found("no-edge", listen=listen)
    except (aiohttp.ClientError, OSError):
        body = b""  # no HTTP
    try:
        return Readiness.model_validate_json(body)
    except ValueError:
        return found("not-an-edge", listen=listen)


async def look_at_hosts(visit: Visit) -> AsyncGenerator[Finding, None]:
    """Resolve, connect and shake hands with each host of the API."""
    platform = visit.settings.platform
    endpoints = platform.endpoints
    urls = [URL(it) for it in (endpoints.token_url, endpoints.rest_url)]
    family = FAMILIES[platform.address_family]
    for url in dict.fromkeys(url.origin() for url in urls):
        yield await reach("hosts", url, family, str(platform.address_family))


async def reach(check: str, url: URL, family: socket.AddressFamily, name: str) -> Finding:
    """Return how a host is reached."""
    host, port = url.host or "", url.port or 443
    loop = asyncio.get_running_loop()

    def on(finding: Finding) -> Finding:
        return replace(finding, check=check)

    try:
        async with asyncio.timeout(PATIENCE):
            addresses = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError):
        return on(found("not-in-dns", host=host, family=name))
    secure = ssl.create_default_context() if url.scheme == "https" else None
    try:
        async with asyncio.timeout(PATIENCE):
            _, writer = await asyncio.open_connection(
                host, port, family=family, ssl=secure, server_hostname=host if secure else None
            )
    except ssl.SSLError as error:
        why = getattr(error, "verify_message", "") or error.reason
        return on(found("tls-fails", host=host, why=why))
    except (OSError, TimeoutError):
        return on(found("no-connection", host=host, port=port))
    told = writer.get_extra_info("ssl_object")
    writer.close()
    address = addresses[0][4][0]
    if told is None:
        return on(found("plain-http", host=host, address=address))
    ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(told.getpeercert()["notAfter"]), UTC)
    outcome = "certificate-ends" if (ends - datetime.now(UTC)).days < DAYS_LEFT else "host-reached"
    return on(found(outcome, host=host, address=address, tls=told.version(), ends=ends))


async def look_at_state(visit: Visit) -> AsyncGenerator[Finding, None]:
    """Ask the state as an edge does, and say how long that takes."""
    config, clock = visit.settings.state, visit.process.telemetry.clock
    async with open_state(visit.settings, build_telemetry()) as (state, _):
        if not state.is_shared:
            return  # nothing to reach
        try:
            await state.probe()  # connected; from here on it is what a play waits for
            started = clock.monotonic()
            await state.claim("doctor", "doctor", ttl=1)
            took = clock.monotonic() - started
        except StateError as error:
            refusal = state_unavailable(error)
            reason, detail = refusal.reason, refusal.detail
            step = next_step_of(reason, detail)
            yield found("state-unavailable", reason=reason, detail=detail, step=step)
            return
        outcome = "state-slow" if took > config.timeout / 2 else "state-good"
        yield found(outcome, took=took * 1000, timeout=config.timeout * 1000)
