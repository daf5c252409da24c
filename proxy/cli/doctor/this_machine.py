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
from proxy.cli.doctor.results import (
    CHECK_TIMEOUT_SECONDS,
    CheckContext,
    build_result,
    find_next_step,
)
from proxy.cli.operator_client import format_host, open_session
from proxy.cli.options import CheckResult
from proxy.domain.reasons import Reason
from proxy.edge.shared_state import build_state_refusal
from proxy.settings.cross_checks import find_warnings
from proxy.settings.file_modes import read_mode
from proxy.settings.settings_diff import compute_digest
from proxy.settings.value_checks import ListenAddress, parse_listen
from proxy.wiring import FAMILIES, open_state

MIN_DAYS_LEFT = 14  # of a certificate, before it is worth a word
ACCOUNT_REASONS = frozenset({Reason.PLATFORM_CREDENTIALS, Reason.PLATFORM_PERMISSION})
GROUP_AND_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class ReportedOutage(BaseModel):
    """A trouble as /readyz tells it."""

    reason: Reason
    detail: str
    since: str


class ReportedSettings(BaseModel):
    """How the settings were last loaded."""

    digest: str
    problems: list[str]
    need_restart: list[str]


class ReportedIssuer(BaseModel):
    """What is known of an issuer's keys."""

    error: str | None


class Readiness(BaseModel):
    """What is read of /readyz."""

    status: Literal["ready", "starting", "draining"]
    platform: dict[str, ReportedOutage]
    state: ReportedOutage | None
    settings: ReportedSettings
    issuers: dict[str, ReportedIssuer]


async def check_settings(visit: CheckContext) -> AsyncGenerator[CheckResult, None]:
    """Say what the settings give up, or leave unsaid."""
    settings = visit.settings
    platform = settings.platform
    file, mode = visit.file or "environment and defaults", settings.delivery.mode
    yield build_result(
        "settings-good", file=file, api=platform.api, grant=platform.grant, mode=mode
    )
    for setting, text in find_warnings(settings, visit.file):
        yield build_result("settings-warning", name=setting, text=text)
    for flag in platform.url_flags:
        yield build_result(flag)
    if platform.grant == "authorization_code":
        permissions = read_mode(Path(platform.login_file))
        if permissions & GROUP_AND_OTHERS:
            yield build_result("login-file-readable", file=platform.login_file, mode=permissions)


async def check_edge(visit: CheckContext) -> AsyncGenerator[CheckResult, None]:
    """Ask the edge's own operator port how it is."""
    listen = parse_listen(visit.settings.operator.listen)
    told = await fetch_readiness(listen)
    if isinstance(told, CheckResult):
        yield told
        return
    is_settled = not told.settings.problems and not told.settings.need_restart
    is_another = is_settled and told.settings.digest != compute_digest(visit.settings)
    if is_another:
        yield build_result("other-edge", listen=listen)
    for finding in find_outages(told):
        yield finding
    if told.status != "ready":
        yield build_result("edge-not-ready", state=told.status, listen=listen)
    elif not told.platform and told.state is None and not told.settings.problems and not is_another:
        yield build_result("edge-ready", listen=listen)


def find_outages(told: Readiness) -> Iterator[CheckResult]:
    """Yield what the edge says is wrong, in the order in which to mend it."""
    if told.settings.need_restart:
        yield build_result("restart-needed", names=", ".join(told.settings.need_restart))
    is_behind = any(name.startswith("platform.") for name in told.settings.need_restart)
    troubles = {**told.platform, **({} if told.state is None else {"the state": told.state})}
    for operation, trouble in troubles.items():
        detail = f" ({trouble.detail})" if trouble.detail else ""
        step = find_next_step(trouble.reason, trouble.detail)
        if is_behind and trouble.reason in ACCOUNT_REASONS:
            step = "Restart the edge first: it does not use these settings for Dailymotion yet."
        yield build_result(
            "edge-outage",
            operation=operation,
            since=trouble.since,
            reason=trouble.reason,
            detail=detail,
            step=step,
        )
    for problem in told.settings.problems:
        yield build_result("older-settings", problem=problem)
    for name, issuer in told.issuers.items():
        if issuer.error is not None:
            yield build_result("issuer-failing", name=name, error=issuer.error)


async def fetch_readiness(listen: ListenAddress) -> Readiness | CheckResult:
    """Return what the operator port says, or that no edge answers there."""
    try:
        async with (
            asyncio.timeout(CHECK_TIMEOUT_SECONDS),
            open_session(listen) as session,
            session.get(f"http://{format_host(listen)}/readyz") as answer,
        ):
            body = await answer.read()
    except TimeoutError:
        return build_result("edge-hangs", listen=listen)
    except aiohttp.ClientConnectorError:
        return build_result("no-edge", listen=listen)
    except (aiohttp.ClientError, OSError):
        body = b""  # no HTTP
    try:
        return Readiness.model_validate_json(body)
    except ValueError:
        return build_result("not-an-edge", listen=listen)


async def check_hosts(visit: CheckContext) -> AsyncGenerator[CheckResult, None]:
    """Resolve, connect and shake hands with each host of the API."""
    platform = visit.settings.platform
    endpoints = platform.endpoints
    urls = [URL(it) for it in (endpoints.token_url, endpoints.rest_url)]
    family = FAMILIES[platform.address_family]
    for url in dict.fromkeys(url.origin() for url in urls):
        yield await check_host("hosts", url, family, str(platform.address_family))


async def check_host(check: str, url: URL, family: socket.AddressFamily, name: str) -> CheckResult:
    """Return how a host is reached."""
    host, port = url.host or "", url.port or 443
    loop = asyncio.get_running_loop()

    def on(finding: CheckResult) -> CheckResult:
        return replace(finding, check=check)

    try:
        async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
            addresses = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError):
        return on(build_result("not-in-dns", host=host, family=name))
    secure = ssl.create_default_context() if url.scheme == "https" else None
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
            _, writer = await asyncio.open_connection(
                host, port, family=family, ssl=secure, server_hostname=host if secure else None
            )
    except ssl.SSLError as error:
        why = getattr(error, "verify_message", "") or error.reason
        return on(build_result("tls-fails", host=host, why=why))
    except (OSError, TimeoutError):
        return on(build_result("no-connection", host=host, port=port))
    told = writer.get_extra_info("ssl_object")
    writer.close()
    address = addresses[0][4][0]
    if told is None:
        return on(build_result("plain-http", host=host, address=address))
    ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(told.getpeercert()["notAfter"]), UTC)
    outcome = (
        "certificate-ends" if (ends - datetime.now(UTC)).days < MIN_DAYS_LEFT else "host-reached"
    )
    return on(build_result(outcome, host=host, address=address, tls=told.version(), ends=ends))


async def check_state(visit: CheckContext) -> AsyncGenerator[CheckResult, None]:
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
            refusal = build_state_refusal(error)
            reason, detail = refusal.reason, refusal.detail
            step = find_next_step(reason, detail)
            yield build_result("state-unavailable", reason=reason, detail=detail, step=step)
            return
        outcome = "state-slow" if took > config.timeout / 2 else "state-good"
        yield build_result(outcome, took=took * 1000, timeout=config.timeout * 1000)
