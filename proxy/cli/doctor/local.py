"""This machine: the settings, the edge that runs here, the state, and the hosts to reach."""

import asyncio
import socket
import ssl
import stat
from collections.abc import AsyncGenerator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import aiohttp
from pydantic import BaseModel
from yarl import URL

from proxy.adapters.errors import StateError
from proxy.adapters.telemetry import build_telemetry
from proxy.cli.doctor.findings import PATIENCE, Visit, broken, next_step_of, ok, warn
from proxy.cli.operator import connected_to, host_of
from proxy.cli.options import Finding, mode_of
from proxy.domain.reasons import Reason
from proxy.edge.state import state_unavailable
from proxy.settings.checks import Listen, parse_listen
from proxy.settings.comparing import digest_of
from proxy.settings.platform import Flag
from proxy.settings.rules import warnings_about
from proxy.wiring import FAMILIES, open_state

DAYS_LEFT = 14  # of a certificate, before it is worth a word
COSTS: dict[Flag, str] = {
    "no_ip_lock": "whoever is given a stream URL can play it, from anywhere",
    "no_expire": "a stream URL that leaks plays for ever",
}
OWN = "Everything else below is asked from this command itself."
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
    yield ok(
        "settings",
        f"{visit.file or 'environment and defaults'}: good; API {platform.api}, {platform.grant}, "
        f"delivery {settings.delivery.mode}",
    )
    for name, text in warnings_about(settings, visit.file):
        yield warn("settings", f"{name}: {text}", f"Look at {name}.")
    for name in platform.given_up:
        yield warn("settings", f"platform.{name} is true: {COSTS[name]}", "Set it to false.")
    if platform.grant == "authorization_code":
        mode = mode_of(Path(platform.login_file))
        if mode is not None and mode & OPEN_TO_OTHERS:
            file = platform.login_file
            yield warn(
                "settings", f"{file} can be read by others ({mode:o})", f"Run chmod 600 {file}"
            )


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
        yield warn(
            "edge",
            f"an edge answers at {listen}, and it runs other settings than these",
            "Stop it if it is another one, such as a demo; if not, restart it, or give this "
            "command the settings and variables that it has. Everything below is about the "
            "settings that this command has read.",
        )
    for finding in troubles_of(told):
        yield finding
    if told.status != "ready":
        yield warn("edge", f"{told.status} at {listen}", "No player should be sent there yet.")
    elif not told.platform and told.state is None and not told.settings.problems and not is_another:
        yield ok("edge", f"ready at {listen}")


def troubles_of(told: Readiness) -> Iterator[Finding]:
    """Yield what the edge says is wrong, in the order in which to mend it."""
    if told.settings.need_restart:
        names = ", ".join(told.settings.need_restart)
        yield warn("edge", f"these settings are not in use yet: {names}", "Restart the edge.")
    is_behind = any(name.startswith("platform.") for name in told.settings.need_restart)
    troubles = {**told.platform, **({} if told.state is None else {"the state": told.state})}
    for operation, trouble in troubles.items():
        text = f"trouble with {operation} since {trouble.since}: {trouble.reason}"
        detail = f" ({trouble.detail})" if trouble.detail else ""
        step = next_step_of(trouble.reason, trouble.detail)
        if is_behind and trouble.reason in OF_THE_ACCOUNT:
            step = "Restart the edge first: it does not use these settings for Dailymotion yet."
        yield broken("edge", f"{text}{detail}", step)
    for problem in told.settings.problems:
        step = "Mend the file; the edge reads it again by itself."
        yield broken("edge", f"it runs with older settings: {problem}", step)
    for name, issuer in told.issuers.items():
        if issuer.trouble is not None:
            step = "Look at tokens.issuers, and at whether this machine reaches that URL."
            yield warn("edge", f"the keys of {name} cannot be had: {issuer.trouble}", step)


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
        text = f"what listens at {listen} accepts connections and does not answer"
        step = f"Look at that process (ss -ltnp): an edge that hangs has to be restarted. {OWN}"
        return warn("edge", text, step)
    except aiohttp.ClientConnectorError:
        return warn("edge", f"no edge answers at {listen}", f"Start it: playgate serve. {OWN}")
    except (aiohttp.ClientError, OSError):
        body = b""  # no HTTP
    try:
        return Readiness.model_validate_json(body)
    except ValueError:
        step = f"Stop it, or set operator.listen to an address that is free. {OWN}"
        return warn("edge", f"what answers at {listen} is no edge of this version", step)


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
    try:
        async with asyncio.timeout(PATIENCE):
            found = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError):
        return broken(
            check,
            f"{host}: no {name} address in DNS",
            "Look at this machine's resolver, and at platform.address_family.",
        )
    secure = ssl.create_default_context() if url.scheme == "https" else None
    try:
        async with asyncio.timeout(PATIENCE):
            _, writer = await asyncio.open_connection(
                host, port, family=family, ssl=secure, server_hostname=host if secure else None
            )
    except ssl.SSLError as error:
        why = getattr(error, "verify_message", "") or error.reason
        return broken(
            check,
            f"{host}: TLS fails ({why})",
            "Look for a proxy that opens TLS on the way, at this machine's clock and its "
            "certificate authorities.",
        )
    except (OSError, TimeoutError):
        return broken(
            check, f"{host}:{port}: no connection", "Look at this machine's firewall and routes."
        )
    told = writer.get_extra_info("ssl_object")
    writer.close()
    where = f"{host}: {found[0][4][0]}"
    if told is None:
        return ok(check, f"{where}, plain http")
    ends = datetime.fromtimestamp(ssl.cert_time_to_seconds(told.getpeercert()["notAfter"]), UTC)
    text = f"{where}, {told.version()}, certificate until {ends:%Y-%m-%d}"
    if (ends - datetime.now(UTC)).days < DAYS_LEFT:
        return warn(check, text, "It is about to lapse: whoever runs that host has to renew it.")
    return ok(check, text)


NAME = "doctor"


async def look_at_state(visit: Visit) -> AsyncGenerator[Finding, None]:
    """Ask the state as an edge does, and say how long that takes."""
    config, clock = visit.settings.state, visit.process.telemetry.clock
    async with open_state(visit.settings, build_telemetry()) as (state, _):
        if not state.is_shared:
            return  # nothing to reach
        try:
            await state.probe()  # connected; from here on it is what a play waits for
            started = clock.monotonic()
            await state.claim(NAME, NAME, ttl=1)
            took = clock.monotonic() - started
        except StateError as error:
            refusal = state_unavailable(error)
            step = next_step_of(refusal.reason, refusal.detail)
            yield broken("state", f"{refusal.reason}: {refusal.detail}", step)
            return
        text = f"read and written in {took * 1000:.1f} ms"
        if took > config.timeout / 2:
            step = "Move it closer, or raise state.timeout: plays wait for it with first_use."
            yield warn("state", f"{text}, and state.timeout is {config.timeout * 1000:g} ms", step)
        else:
            yield ok("state", text)
