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
from proxy.cli.doctor.results import CHECK_TIMEOUT_SECONDS, CheckContext, build_result
from proxy.cli.options import CheckResult
from proxy.domain.client_ip import Address, PrivateViewers, check_viewer, is_public, parse_address
from proxy.domain.probe import sign_probe
from proxy.domain.reasons import Reason, Refusal

FORGED_ADDRESS = "192.0.2.66"  # RFC 5737: nobody's address, so nobody but us brought it in
UNKNOWN_VIDEO_PATH = "/play/x0.m3u8"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicResponse:
    """An answer that came through the public URL."""

    status: int
    headers: Mapping[str, str]
    members: dict[str, Any] = field(default_factory=dict)


async def check_public_url(visit: CheckContext) -> AsyncGenerator[CheckResult, None]:
    """Ask as a player does, without a token, and as a browser does before."""
    public_url = visit.settings.web.public_url
    if not public_url:
        yield build_result("no-public-url")
        return
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        try:
            denied = await send_request(
                session, "GET", URL(public_url + UNKNOWN_VIDEO_PATH), {"Origin": "null"}
            )
            preflight = await send_request(
                session,
                "OPTIONS",
                URL(public_url + UNKNOWN_VIDEO_PATH),
                {"Origin": "https://example.com", "Access-Control-Request-Method": "GET"},
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            cause = CAUSES.get(type(error), type(error).__name__)
            yield build_result("public-silent", url=public_url, cause=cause)
            return
        # Which one it is depends on the settings; that it is one of ours is enough.
        reason = denied.headers.get("X-Deny-Reason", "no X-Deny-Reason")
        if reason not in list(Reason):
            yield build_result(
                "public-not-an-edge", url=public_url, code=denied.status, reason=reason
            )
            return
        yield build_result("public-good", url=public_url)
        yield assess_cors(denied, preflight)
        async for finding in check_forwarding(visit, session):
            yield finding


def assess_cors(denied: PublicResponse, preflight: PublicResponse) -> CheckResult:
    """Say whether a page elsewhere may read what the edge answers."""
    allowed = [it.headers.get("Access-Control-Allow-Origin", "") for it in (denied, preflight)]
    if allowed == ["*", "*"] and preflight.status == HTTPStatus.NO_CONTENT:
        return build_result("cors-good")
    refusal, other = (it[:60] for it in allowed)
    return build_result("cors-lost", refusal=refusal, code=preflight.status, preflight=other)


async def check_forwarding(
    visit: CheckContext, session: aiohttp.ClientSession
) -> AsyncGenerator[CheckResult, None]:
    """Ask the edge whom it sees, with an address of our own making in the header."""
    settings = visit.settings
    key = settings.operator.key.get_secret_value()
    if not key:
        yield build_result("no-operator-key")
        return
    probe = sign_probe(key, now=visit.process.telemetry.clock.now())
    url = URL(f"{settings.web.public_url}/play/probe").with_query(token=probe)
    try:
        seen = await send_request(
            session, "GET", url, {settings.viewer.forwarded_header: FORGED_ADDRESS}
        )
    except (aiohttp.ClientError, TimeoutError, OSError):
        yield build_result("public-gone")
        return
    if seen.status != HTTPStatus.OK or "viewer" not in seen.members:
        yield build_result("probe-refused", code=seen.status)
        return
    yield assess_forwarding(
        seen.members, settings.viewer.private, loopback_viewers=settings.sandbox
    )


def assess_forwarding(
    seen: Mapping[str, Any], private: PrivateViewers, *, loopback_viewers: bool
) -> CheckResult:
    """Say whether the address that the edge sees is the viewer's, and nobody's choice.

    `seen` is the answer to a probe that came with FORGED in its header.
    """
    viewer, peer, header = seen.get("viewer"), seen.get("peer"), seen.get("header")
    lines = seen.get("forwarded")
    forwarded = ", ".join(map(str, lines if isinstance(lines, list) else []))
    address = parse_address(str(viewer))
    seen_as = partial(build_result, viewer=viewer, peer=peer, header=header, forwarded=forwarded)
    if viewer == FORGED_ADDRESS:
        return seen_as("forged-address")
    if address is None:
        return seen_as("no-viewer")
    if forwarded not in {"", FORGED_ADDRESS} and not seen.get("peer_is_trusted"):
        return seen_as("proxy-untrusted")
    if not is_public(address) and not loopback_viewers:
        finding = seen_as("viewer-private")
        return replace(finding, status="warn") if _can_play(address, private) else finding
    return seen_as("forwarding-good")


def _can_play(address: Address, private: PrivateViewers) -> bool:
    try:
        check_viewer(address, private, loopback_viewers=False)
    except Refusal:
        return False
    return True


async def send_request(
    session: aiohttp.ClientSession, method: str, url: URL, headers: Mapping[str, str]
) -> PublicResponse:
    """Return what comes back, and its JSON where it is an object."""
    async with (
        asyncio.timeout(CHECK_TIMEOUT_SECONDS),
        session.request(method, url, headers=headers, allow_redirects=False) as response,
    ):
        try:
            members = json.loads(await read_body("account", response))
        except (UpstreamError, ValueError, RecursionError):
            members = {}
        return PublicResponse(
            status=response.status,
            headers=response.headers,
            members=members if isinstance(members, dict) else {},
        )
