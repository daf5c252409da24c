"""Check a viewer's path: the public URL, CORS, and the address that the edge sees."""

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

FORGED_ADDRESS = "192.0.2.66"  # reserved by RFC 5737: only this command can have sent it
UNKNOWN_VIDEO_PATH = "/play/x0.m3u8"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicResponse:
    """A response that came through the public URL."""

    status: int
    headers: Mapping[str, str]
    members: dict[str, Any] = field(default_factory=dict)


async def check_public_url(context: CheckContext) -> AsyncGenerator[CheckResult, None]:
    """Send a play without a token and a CORS preflight through the public URL."""
    public_url = context.settings.web.public_url
    if not public_url:
        yield build_result("no-public-url")
        return
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        try:
            refused = await send_request(
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
            yield build_result("public-url-unreachable", url=public_url, cause=cause)
            return
        # Any reason will do: the settings decide which check refuses the play first.
        reason = refused.headers.get("X-Deny-Reason", "no X-Deny-Reason")
        if reason not in list(Reason):
            yield build_result(
                "public-not-an-edge", url=public_url, code=refused.status, reason=reason
            )
            return
        yield build_result("public-good", url=public_url)
        yield assess_cors(refused, preflight)
        async for result in check_forwarding(context, session):
            yield result


def assess_cors(refused: PublicResponse, preflight: PublicResponse) -> CheckResult:
    """Assess whether a page of another origin may read the edge's responses."""
    allowed = [
        response.headers.get("Access-Control-Allow-Origin", "") for response in (refused, preflight)
    ]
    if allowed == ["*", "*"] and preflight.status == HTTPStatus.NO_CONTENT:
        return build_result("cors-good")
    refusal_origin, preflight_origin = (value[:60] for value in allowed)
    return build_result(
        "cors-missing",
        refusal=refusal_origin,
        code=preflight.status,
        preflight=preflight_origin,
    )


async def check_forwarding(
    context: CheckContext, session: aiohttp.ClientSession
) -> AsyncGenerator[CheckResult, None]:
    """Send a probe with a forged address to see which viewer address the edge determines."""
    settings = context.settings
    key = settings.operator.key.get_secret_value()
    if not key:
        yield build_result("no-operator-key")
        return
    probe = sign_probe(key, now=context.process.telemetry.clock.now())
    url = URL(f"{settings.web.public_url}/play/probe").with_query(token=probe)
    try:
        response = await send_request(
            session, "GET", url, {settings.viewer.forwarded_header: FORGED_ADDRESS}
        )
    except (aiohttp.ClientError, TimeoutError, OSError):
        yield build_result("public-url-lost")
        return
    if response.status != HTTPStatus.OK or "viewer" not in response.members:
        yield build_result("probe-refused", code=response.status)
        return
    yield assess_forwarding(
        response.members, settings.viewer.private, loopback_viewers=settings.sandbox
    )


def assess_forwarding(
    seen: Mapping[str, Any], private: PrivateViewers, *, loopback_viewers: bool
) -> CheckResult:
    """Assess whether the edge sees the viewer's real address, and whether it can be forged.

    `seen` is the response to a probe that was sent with FORGED_ADDRESS in its header.
    """
    viewer, peer, header = seen.get("viewer"), seen.get("peer"), seen.get("header")
    lines = seen.get("forwarded")
    forwarded = ", ".join(map(str, lines if isinstance(lines, list) else []))
    address = parse_address(str(viewer))
    build_seen = partial(build_result, viewer=viewer, peer=peer, header=header, forwarded=forwarded)
    if viewer == FORGED_ADDRESS:
        return build_seen("forged-address")
    if address is None:
        return build_seen("no-viewer")
    if forwarded not in {"", FORGED_ADDRESS} and not seen.get("peer_is_trusted"):
        return build_seen("proxy-untrusted")
    if not is_public(address) and not loopback_viewers:
        result = build_seen("viewer-private")
        return replace(result, status="warn") if _can_play(address, private) else result
    return build_seen("forwarding-good")


def _can_play(address: Address, private: PrivateViewers) -> bool:
    try:
        check_viewer(address, private, loopback_viewers=False)
    except Refusal:
        return False
    return True


async def send_request(
    session: aiohttp.ClientSession, method: str, url: URL, headers: Mapping[str, str]
) -> PublicResponse:
    """Send a request; return the response, with its members if the body is a JSON object."""
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
