"""The CDN: does it give this machine the playlist, do browsers reach it, and from which address."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from http import HTTPStatus

from yarl import URL

from proxy.cli.doctor.findings import Visit, broken, ok, refused, warn
from proxy.cli.doctor.local import reach
from proxy.cli.options import Finding
from proxy.domain.reasons import Refusal
from proxy.settings.schema import Mode
from proxy.wiring import FAMILIES


async def look_at_cdn(visit: Visit, url: str, mode: Mode) -> AsyncGenerator[Finding, None]:
    """Fetch this machine's own stream URL, as the edge does to check or to relay."""
    settings = visit.settings
    family = settings.platform.address_family
    origin = URL(url, encoded=True).origin()
    yield await reach("cdn", origin, FAMILIES[family], family)
    try:
        async with visit.process.dailymotion.cdn.open("GET", url, {"Origin": "null"}) as response:
            status, headers = response.status, response.headers
        report = None
        if status == HTTPStatus.OK:
            received = await visit.process.dailymotion.cdn.fetch_playlist(url)
            report = await visit.process.dailymotion.checking.check(received)
    except Refusal as refusal:
        yield refused("cdn", refusal)
        return
    if status == HTTPStatus.FORBIDDEN:
        judge = broken if mode == "relay" else warn
        yield judge(
            "cdn",
            "403 for the stream URL of this machine's own",
            "Either it fetches from another address than it asked from (platform.address_family, "
            "platform.egress_ip), or the CDN takes it for a robot. Redirects are not concerned; "
            "validate and relay are.",
        )
    elif report is None or not report.is_playlist:
        yield broken(
            "cdn",
            f"HTTP {status}, and what comes is no playlist",
            "Try playgate inspect with the video's id: a bot challenge may look like that.",
        )
    elif report.unplayable:
        yield broken(
            "cdn",
            f"no player can play this playlist ({', '.join(report.unplayable)})",
            "playgate inspect with the video's id says what is wrong with it.",
        )
    else:
        yield ok(
            "cdn",
            f"gives the playlist to this machine over {family}: it asks and fetches "
            "from one address",
        )
    if mode != "relay":  # what it relays, it fetches itself
        if status == HTTPStatus.OK:
            yield judge_cdn_cors(headers.get("Access-Control-Allow-Origin", ""))
        yield await families_of(visit, origin)
    yield await egress_of(visit, origin)


def judge_cdn_cors(allowed: str) -> Finding:
    """Say whether a page may read what the CDN answers after a redirect."""
    if allowed == "*":
        return ok("cors", "the CDN lets web players read")
    return broken(
        "cors",
        f"the CDN's Access-Control-Allow-Origin is {allowed[:60]!r}, and after the redirect "
        "browsers ask with Origin: null",
        "hls.js and Shaka cannot play this by redirect: use delivery.mode = relay.",
    )


async def egress_of(visit: Visit, cdn: URL) -> Finding:
    """Compare the addresses from which this machine leaves to the API and to the CDN."""
    platform = visit.settings.platform
    family = FAMILIES[platform.address_family]
    api = URL(platform.endpoints.rest_url)
    try:
        leaves = [await asyncio.to_thread(source_towards, url, family) for url in (api, cdn)]
    except OSError:
        return broken(
            "egress",
            f"no way out over {platform.address_family}",
            "Look at platform.address_family.",
        )
    if leaves[0] != leaves[1] and not platform.egress_ip:
        return warn(
            "egress",
            f"{leaves[0]} towards the API, {leaves[1]} towards the CDN",
            "What validate and relay fetch is locked to the address that asked: set "
            "platform.egress_ip to the public one that the CDN sees.",
        )
    said = f"; platform.egress_ip says {platform.egress_ip}" if platform.egress_ip else ""
    return ok("egress", f"{leaves[0]} towards API and CDN{said}")


def source_towards(url: URL, family: socket.AddressFamily) -> str:
    """Return the address of ours from which a host is reached; nothing is sent."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((url.host, url.port))
        return str(probe.getsockname()[0])


async def families_of(visit: Visit, origin: URL) -> Finding:
    """Compare the CDN's address families with what the settings say of them."""
    loop, told = asyncio.get_running_loop(), visit.settings.delivery.cdn_families
    try:
        found = await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
    except OSError:
        return broken("families", f"{origin.host}: not in DNS", "Look at this machine's resolver.")
    has = sorted({"ipv4" if it[0] == socket.AF_INET else "ipv6" for it in found})
    text = f"the CDN has {' and '.join(has)}"
    if visit.viewer is not None and f"ipv{visit.viewer.version}" not in has:
        return broken(
            "families",
            f"{text}, and {visit.viewer} is an IPv{visit.viewer.version} address",
            "The CDN never sees that address: set delivery.cdn_families to what it has, and the "
            "others are relayed.",
        )
    if "ipv6" in told and "ipv6" not in has:
        return warn(
            "families",
            f"{text}, as seen from here, and delivery.cdn_families says ipv6 too",
            "Viewers who reach the edge over IPv6 are refused by an IPv4 CDN: set "
            "delivery.cdn_families to what it has, and they are relayed.",
        )
    return ok("families", f"{text}; delivery.cdn_families: {', '.join(told)}")
