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

from proxy.adapters.dailymotion.api_session import FAMILIES
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
from proxy.wiring import open_state

MIN_DAYS_LEFT = 14  # a certificate that expires earlier gets a warning
ACCOUNT_REASONS = frozenset({Reason.PLATFORM_CREDENTIALS, Reason.PLATFORM_PERMISSION})
GROUP_AND_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class ReportedOutage(BaseModel):
    """An outage as /readyz reports it."""

    reason: Reason
    detail: str
    since: str


class ReportedSettings(BaseModel):
    """The outcome of the edge's last load of its settings, as /readyz reports it."""

    digest: str
    problems: list[str]
    need_restart: list[str]


class ReportedIssuer(BaseModel):
    """The last error in fetching an issuer's keys, as /readyz reports it."""

    error: str | None


class Readiness(BaseModel):
    """The members of the /readyz response that doctor uses."""

    status: Literal["ready", "starting", "draining"]
    platform: dict[str, ReportedOutage]
    state: ReportedOutage | None
    settings: ReportedSettings
    issuers: dict[str, ReportedIssuer]


async def check_settings(context: CheckContext) -> AsyncGenerator[CheckResult, None]:
    """Check the settings for warnings and for options that reduce protection."""
    settings = context.settings
    platform = settings.platform
    file, mode = context.file or "environment and defaults", settings.delivery.mode
    yield build_result(
        "settings-good", file=file, api=platform.api, grant=platform.grant, mode=mode
    )
    for setting, text in find_warnings(settings, context.file):
        yield build_result("settings-warning", name=setting, text=text)
    for flag in platform.url_flags:
        yield build_result(flag)
    if platform.grant == "authorization_code":
        permissions = read_mode(Path(platform.login_file))
        if permissions & GROUP_AND_OTHERS:
            yield build_result("login-file-readable", file=platform.login_file, mode=permissions)


async def check_edge(context: CheckContext) -> AsyncGenerator[CheckResult, None]:
    """Check the state of the running edge, as /readyz on its operator port reports it."""
    listen = parse_listen(context.settings.operator.listen)
    readiness = await fetch_readiness(listen)
    if isinstance(readiness, CheckResult):
        yield readiness
        return
    loaded = readiness.settings
    is_up_to_date = not loaded.problems and not loaded.need_restart
    has_other_settings = is_up_to_date and loaded.digest != compute_digest(context.settings)
    if has_other_settings:
        yield build_result("other-edge", listen=listen)
    for result in find_outages(readiness):
        yield result
    has_outage = bool(readiness.platform) or readiness.state is not None
    if readiness.status != "ready":
        yield build_result("edge-not-ready", state=readiness.status, listen=listen)
    elif not has_outage and not loaded.problems and not has_other_settings:
        yield build_result("edge-ready", listen=listen)


def find_outages(readiness: Readiness) -> Iterator[CheckResult]:
    """Yield the problems that the edge reports, in the order in which to fix them."""
    if readiness.settings.need_restart:
        yield build_result("restart-needed", names=", ".join(readiness.settings.need_restart))
    platform_needs_restart = any(
        name.startswith("platform.") for name in readiness.settings.need_restart
    )
    state = {} if readiness.state is None else {"state": readiness.state}
    for operation, outage in {**readiness.platform, **state}.items():
        detail = f" ({outage.detail})" if outage.detail else ""
        step = find_next_step(outage.reason, outage.detail)
        if platform_needs_restart and outage.reason in ACCOUNT_REASONS:
            step = "Restart the edge first: it still uses its previous platform settings."
        yield build_result(
            "edge-outage",
            operation=operation,
            since=outage.since,
            reason=outage.reason,
            detail=detail,
            step=step,
        )
    for problem in readiness.settings.problems:
        yield build_result("older-settings", problem=problem)
    for name, issuer in readiness.issuers.items():
        if issuer.error is not None:
            yield build_result("issuer-failing", name=name, error=issuer.error)


async def fetch_readiness(listen: ListenAddress) -> Readiness | CheckResult:
    """Return the /readyz response of the operator port, or a result if no edge responds there."""
    try:
        async with (
            asyncio.timeout(CHECK_TIMEOUT_SECONDS),
            open_session(listen) as session,
            session.get(f"http://{format_host(listen)}/readyz") as response,
        ):
            body = await response.read()
    except TimeoutError:
        return build_result("edge-hangs", listen=listen)
    except aiohttp.ClientConnectorError:
        return build_result("no-edge", listen=listen)
    except (aiohttp.ClientError, OSError):
        body = b""  # the server does not speak HTTP
    try:
        return Readiness.model_validate_json(body)
    except ValueError:
        return build_result("not-an-edge", listen=listen)


async def check_hosts(context: CheckContext) -> AsyncGenerator[CheckResult, None]:
    """Check that each host of the API can be resolved and connected to, and its certificate."""
    platform = context.settings.platform
    endpoints = platform.endpoints
    urls = [URL(url) for url in (endpoints.token_url, endpoints.rest_url)]
    family = FAMILIES[platform.address_family]
    for url in dict.fromkeys(url.origin() for url in urls):
        yield await check_host("hosts", url, family, str(platform.address_family))


async def check_host(check: str, url: URL, family: socket.AddressFamily, name: str) -> CheckResult:
    """Check DNS, connection and TLS of a host.

    `check` is the name for the result; `name` is the name of the address family.
    """
    host, port = url.host or "", url.port or 443
    loop = asyncio.get_running_loop()

    def rename_check(result: CheckResult) -> CheckResult:
        return replace(result, check=check)

    try:
        async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
            addresses = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError):
        return rename_check(build_result("not-in-dns", host=host, family=name))
    secure = ssl.create_default_context() if url.scheme == "https" else None
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
            _, writer = await asyncio.open_connection(
                host, port, family=family, ssl=secure, server_hostname=host if secure else None
            )
    except ssl.SSLError as error:
        cause = getattr(error, "verify_message", "") or error.reason
        return rename_check(build_result("tls-fails", host=host, cause=cause))
    except (OSError, TimeoutError):
        return rename_check(build_result("no-connection", host=host, port=port))
    tls = writer.get_extra_info("ssl_object")
    writer.close()
    address = addresses[0][4][0]
    if tls is None:
        return rename_check(build_result("plain-http", host=host, address=address))
    ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(tls.getpeercert()["notAfter"]), UTC)
    outcome = (
        "certificate-ends" if (ends - datetime.now(UTC)).days < MIN_DAYS_LEFT else "host-reached"
    )
    return rename_check(
        build_result(outcome, host=host, address=address, tls=tls.version(), ends=ends)
    )


async def check_state(context: CheckContext) -> AsyncGenerator[CheckResult, None]:
    """Write to the shared state and read from it as a play does, and measure the duration."""
    config, clock = context.settings.state, context.process.telemetry.clock
    async with open_state(context.settings, build_telemetry()) as (state, _):
        if not state.is_shared:
            return  # the state is in the memory of this process
        try:
            await state.probe()  # connect first: the measurement is what a play waits for
            started = clock.monotonic()
            await state.claim("doctor", "doctor", ttl=1)
            duration = clock.monotonic() - started
        except StateError as error:
            refusal = build_state_refusal(error)
            reason, detail = refusal.reason, refusal.detail
            step = find_next_step(reason, detail)
            yield build_result("state-unavailable", reason=reason, detail=detail, step=step)
            return
        outcome = "state-slow" if duration > config.timeout / 2 else "state-good"
        yield build_result(outcome, duration=duration * 1000, timeout=config.timeout * 1000)
