"""The way of a viewer: the public URL, what a browser may read, and whom the edge sees."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import aiohttp
from yarl import URL

from proxy.adapters.errors import CAUSES
from proxy.cli.doctor.findings import PATIENCE, Visit, broken, ok, warn
from proxy.cli.options import Finding
from proxy.domain.client_ip import Address, PrivateViewers, is_public, parse_address, public_viewer
from proxy.domain.probe import sign_probe
from proxy.domain.reasons import Reason, Refusal

FORGED = "192.0.2.66"  # RFC 5737: nobody's address, so nobody but us brought it in
MOST_READ = 4096  # bytes
NO_VIDEO = "/play/x0.m3u8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An answer that came through the public URL."""

    status: int
    headers: Mapping[str, str]
    members: dict[str, Any] = field(default_factory=dict)


async def look_at_public_url(visit: Visit) -> AsyncGenerator[Finding, None]:
    """Ask as a player does, without a token, and as a browser does before."""
    public_url = visit.settings.web.public_url
    if not public_url:
        yield warn("public", "web.public_url is not set", "Set it to what players see.")
        return
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        try:
            denied = await ask(session, "GET", URL(public_url + NO_VIDEO), {"Origin": "null"})
            preflight = await ask(
                session,
                "OPTIONS",
                URL(public_url + NO_VIDEO),
                {"Origin": "https://example.com", "Access-Control-Request-Method": "GET"},
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            cause = CAUSES.get(type(error), type(error).__name__)
            step = "Look at nginx, its certificate and the DNS of web.public_url."
            yield broken("public", f"{public_url} does not answer ({cause})", step)
            return
        # Which one it is depends on the settings; that it is one of ours is enough.
        reason = denied.headers.get("X-Deny-Reason", "no X-Deny-Reason")
        if reason not in list(Reason):
            yield broken(
                "public",
                f"{public_url} answers a play without a token with HTTP {denied.status}, {reason}",
                "An edge says why it refuses: does web.public_url lead to one, and does nginx pass "
                "its refusals on as they are?",
            )
            return
        yield ok("public", f"an edge answers at {public_url}")
        yield judge_cors(denied, preflight)
        async for finding in look_at_forwarding(visit, session):
            yield finding


def judge_cors(denied: Told, preflight: Told) -> Finding:
    """Say whether a page elsewhere may read what the edge answers."""
    allowed = [it.headers.get("Access-Control-Allow-Origin", "") for it in (denied, preflight)]
    if allowed == ["*", "*"] and preflight.status == HTTPStatus.NO_CONTENT:
        return ok("cors", "web players may read the edge's answers")
    return broken(
        "cors",
        "the edge's Access-Control-Allow-Origin does not come through "
        f"(refusal {allowed[0][:60]!r}, preflight HTTP {preflight.status} {allowed[1][:60]!r})",
        "Let nginx pass the edge's headers and OPTIONS requests on, and add none of its own.",
    )


async def look_at_forwarding(
    visit: Visit, session: aiohttp.ClientSession
) -> AsyncGenerator[Finding, None]:
    """Ask the edge whom it sees, with an address of our own making in the header."""
    settings = visit.settings
    key = settings.operator.key.get_secret_value()
    if not key:
        step = "Set operator.key, for the edge and for this command alike."
        yield warn("forwarding", "cannot be looked at without operator.key", step)
        return
    probe = sign_probe(key, now=visit.process.telemetry.clock.now())
    url = URL(f"{settings.web.public_url}/play/probe").with_query(token=probe)
    try:
        seen = await ask(session, "GET", url, {settings.viewer.forwarded_header: FORGED})
    except (aiohttp.ClientError, TimeoutError, OSError):
        yield broken("forwarding", "the public URL no longer answers", "Run it again.")
        return
    if seen.status != HTTPStatus.OK or "viewer" not in seen.members:
        yield broken(
            "forwarding",
            f"the edge does not take the probe (HTTP {seen.status})",
            "Is it of this version, does it have this operator.key, and do the clocks agree?",
        )
        return
    yield judge_forwarding(seen.members, settings.viewer.private, loopback_viewers=settings.sandbox)


def judge_forwarding(
    seen: Mapping[str, Any], private: PrivateViewers, *, loopback_viewers: bool
) -> Finding:
    """Say whether the address that the edge sees is the viewer's, and nobody's choice.

    Args:
        seen: what the edge answered to a probe that came with FORGED in its header.
        private: viewer.private.
        loopback_viewers: whether viewers may be on this machine; the sandbox's privilege.
    """
    viewer, peer, header = seen.get("viewer"), seen.get("peer"), seen.get("header")
    lines = seen.get("forwarded")
    forwarded = ", ".join(map(str, lines if isinstance(lines, list) else []))
    address = parse_address(str(viewer))
    if viewer == FORGED:
        return broken(
            "forwarding",
            f"viewers choose their own address: the {header} that a client sends is believed",
            f"Let the outermost proxy set {header} to $remote_addr, or trust only proxies that "
            "append to it (viewer.trusted_proxies).",
        )
    if address is None:
        return broken(
            "forwarding",
            f"the proxy in front names no viewer: {header} is {forwarded!r}",
            f"proxy_set_header {header} $remote_addr;",
        )
    if forwarded not in {"", FORGED} and not seen.get("peer_is_trusted"):
        return broken(
            "forwarding",
            f"every viewer looks like {viewer}: {header} is {forwarded!r}, and comes from "
            f"{peer}, which is not trusted",
            f"Add {peer} to viewer.trusted_proxies, if that is your proxy.",
        )
    if not is_public(address) and not loopback_viewers:
        judge = warn if may_play(address, private) else broken
        return judge(
            "forwarding",
            f"the edge sees {viewer}, which is private: {header} is {forwarded!r}, from {peer}",
            "If that is a proxy of yours, add it to viewer.trusted_proxies; if you asked from "
            "inside your own network, ask from outside.",
        )
    return ok("forwarding", f"the edge sees this machine as {viewer}, through {peer}")


def may_play(address: Address, private: PrivateViewers) -> bool:
    """Say whether the edge lets an address play."""
    try:
        public_viewer(address, private, loopback_viewers=False)
    except Refusal:
        return False
    return True


async def ask(
    session: aiohttp.ClientSession, method: str, url: URL, headers: Mapping[str, str]
) -> Told:
    """Return what comes back, and its JSON where it is an object."""
    async with (
        asyncio.timeout(PATIENCE),
        session.request(method, url, headers=headers, allow_redirects=False) as response,
    ):
        body = await response.content.read(MOST_READ)
        try:
            members = json.loads(body)
        except (ValueError, RecursionError):
            members = {}
        return Told(
            status=response.status,
            headers=response.headers,
            members=members if isinstance(members, dict) else {},
        )
