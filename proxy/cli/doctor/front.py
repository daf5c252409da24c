"""The way of a viewer: the public URL, what a browser may read, and whom the edge sees."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from typing import Any

import aiohttp
from yarl import URL

from proxy.adapters.errors import CAUSES, UpstreamError
from proxy.adapters.http_client import read_body
from proxy.cli.doctor.findings import PATIENCE, Visit, found
from proxy.cli.options import Finding
from proxy.domain.client_ip import Address, PrivateViewers, is_public, parse_address, public_viewer
from proxy.domain.probe import sign_probe
from proxy.domain.reasons import Reason, Refusal

FORGED = "192.0.2.66"  # RFC 5737: nobody's address, so nobody but us brought it in
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
        yield found("no-public-url")
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
            yield found("public-silent", url=public_url, cause=cause)
            return
        # Which one it is depends on the settings; that it is one of ours is enough.
        reason = denied.headers.get("X-Deny-Reason", "no X-Deny-Reason")
        if reason not in list(Reason):
            yield found("public-not-an-edge", url=public_url, code=denied.status, reason=reason)
            return
        yield found("public-good", url=public_url)
        yield judge_cors(denied, preflight)
        async for finding in look_at_forwarding(visit, session):
            yield finding


def judge_cors(denied: Told, preflight: Told) -> Finding:
    """Say whether a page elsewhere may read what the edge answers."""
    allowed = [it.headers.get("Access-Control-Allow-Origin", "") for it in (denied, preflight)]
    if allowed == ["*", "*"] and preflight.status == HTTPStatus.NO_CONTENT:
        return found("cors-good")
    refusal, other = (it[:60] for it in allowed)
    return found("cors-lost", refusal=refusal, code=preflight.status, preflight=other)


async def look_at_forwarding(
    visit: Visit, session: aiohttp.ClientSession
) -> AsyncGenerator[Finding, None]:
    """Ask the edge whom it sees, with an address of our own making in the header."""
    settings = visit.settings
    key = settings.operator.key.get_secret_value()
    if not key:
        yield found("no-operator-key")
        return
    probe = sign_probe(key, now=visit.process.telemetry.clock.now())
    url = URL(f"{settings.web.public_url}/play/probe").with_query(token=probe)
    try:
        seen = await ask(session, "GET", url, {settings.viewer.forwarded_header: FORGED})
    except (aiohttp.ClientError, TimeoutError, OSError):
        yield found("public-gone")
        return
    if seen.status != HTTPStatus.OK or "viewer" not in seen.members:
        yield found("probe-refused", code=seen.status)
        return
    yield judge_forwarding(seen.members, settings.viewer.private, loopback_viewers=settings.sandbox)


def judge_forwarding(
    seen: Mapping[str, Any], private: PrivateViewers, *, loopback_viewers: bool
) -> Finding:
    """Say whether the address that the edge sees is the viewer's, and nobody's choice.

    `seen` is the answer to a probe that came with FORGED in its header.
    """
    viewer, peer, header = seen.get("viewer"), seen.get("peer"), seen.get("header")
    lines = seen.get("forwarded")
    forwarded = ", ".join(map(str, lines if isinstance(lines, list) else []))
    address = parse_address(str(viewer))
    seen_as = partial(found, viewer=viewer, peer=peer, header=header, forwarded=forwarded)
    if viewer == FORGED:
        return seen_as("forged-address")
    if address is None:
        return seen_as("no-viewer")
    if forwarded not in {"", FORGED} and not seen.get("peer_is_trusted"):
        return seen_as("proxy-untrusted")
    if not is_public(address) and not loopback_viewers:
        finding = seen_as("viewer-private")
        return replace(finding, status="warn") if _may_play(address, private) else finding
    return seen_as("forwarding-good")


def _may_play(address: Address, private: PrivateViewers) -> bool:
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
        try:
            members = json.loads(await read_body("account", response))
        except (UpstreamError, ValueError, RecursionError):
            members = {}
        return Told(
            status=response.status,
            headers=response.headers,
            members=members if isinstance(members, dict) else {},
        )
