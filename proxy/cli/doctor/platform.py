"""Dailymotion: the clock, the credentials, what they may do, a stream, and the CDN's answer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from yarl import URL

from proxy.app import FAMILIES
from proxy.cli.doctor.findings import Finding, Visit, broken, ok, refused, warn
from proxy.cli.doctor.local import reach
from proxy.domain.client_ip import Address, lockable, public_viewer
from proxy.domain.reasons import Refusal
from proxy.domain.video import VideoId, loggable

TOLERATED = 5.0  # seconds; what tokens.leeway forgives a signer by default
FAR_OFF = 60.0  # seconds
MESSAGE = "Playgate"


async def look_at_clock(visit: Visit) -> AsyncGenerator[Finding, None]:
    """Compare this machine's clock with the API's Date."""
    clock, rest_url = visit.instruments.clock, visit.settings.platform.endpoints.rest_url
    before = clock.now()
    try:
        url = URL(rest_url) / "echo"
        answer = await visit.upstream.exchange.send("account", "GET", url, deadline=visit.deadline)
        told = parsedate_to_datetime(answer.headers.get("Date", "")).timestamp()
    except Refusal as refusal:
        yield refused("clock", refusal)
        return
    except ValueError:
        yield warn("clock", "the API's answer has no Date", "Compare the clock by hand.")
        return
    yield judge_clock(told, before=before, after=clock.now())


def judge_clock(told: float, *, before: float, after: float) -> Finding:
    """Say how far this machine's clock is off; all times in seconds since 1970.

    Args:
        told: the Date of an answer, which has whole seconds.
        before: by our clock, when the question was asked.
        after: by our clock, when the answer was there.
    """
    ahead = max(0.0, before - (told + 1)) + min(0.0, after - told)
    text = f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} Dailymotion's"
    step = "Let this machine keep time by NTP: tokens are signed and checked by the clock."
    if abs(ahead) <= TOLERATED:
        return ok("clock", "agrees with Dailymotion's")
    return warn("clock", text, step) if abs(ahead) <= FAR_OFF else broken("clock", text, step)


async def look_at_account(visit: Visit) -> AsyncGenerator[Finding, None]:
    """Get an access token, and ask what it is good for."""
    settings = visit.settings.platform
    try:
        token = await visit.upstream.access_tokens.current()
    except Refusal as refusal:
        yield refused("credentials", refusal)
        return
    yield ok("credentials", f"Dailymotion grants an access token ({settings.grant})")
    if settings.api == "v2":
        return  # it has neither /auth nor /echo
    try:
        identity = await visit.account.fetch_identity(token, deadline=visit.deadline)
        has = ", ".join(identity.scopes) or "none"
        roles = f"; roles: {', '.join(identity.roles)}" if identity.roles else ""
        text = f"account {identity.channel_id or 'unnamed'}, scopes: {has}{roles}"
        missing = set(settings.endpoints.scope.split()) - set(identity.scopes)
        if missing:
            step = "Give the API key this permission in Dailymotion Studio, or mend platform.scope."
            yield warn("scopes", f"{text}; not {', '.join(sorted(missing))}", step)
        else:
            yield ok("scopes", text)
    except Refusal as refusal:
        yield refused("scopes", refusal)
    try:
        echoed = await visit.account.echo(MESSAGE, token, deadline=visit.deadline)
    except Refusal as refusal:
        yield refused("echo", refusal)
        return
    if echoed == MESSAGE:
        yield ok("echo", "the access token works")
    else:
        yield warn("echo", "something else came back", "Look at platform.rest_url.")


async def look_at_stream(visit: Visit) -> AsyncGenerator[Finding, None]:
    """Ask for a stream URL as a play does, and fetch one of our own."""
    if visit.video is None:
        step = "Run it again with --video ID --ip ADDRESS, of a viewer for whom it does not play."
        yield warn("stream", "no video was named, so none was looked at", step)
        return
    viewer, video = visit.viewer, visit.video
    name = loggable(video)
    try:
        if viewer is not None:
            url = await resolved_for(visit, video, viewer)
            host = URL(url, encoded=True).host
            yield ok("stream", f"{name} has a stream at {host} for {viewer}")
        own = await visit.upstream.streams.resolve_own(video)
        if viewer is None:
            host = URL(own, encoded=True).host
            yield ok("stream", f"{name} has a stream at {host}, for this machine")
    except Refusal as refusal:
        yield refused("stream", refusal)
        return
    async for finding in look_at_cdn(visit, own):
        yield finding


async def resolved_for(visit: Visit, video: VideoId, viewer: Address) -> str:
    """Return a viewer's stream URL, or refuse as the edge would."""
    private, is_sandbox = visit.settings.viewer.private, visit.settings.sandbox
    public_viewer(viewer, private, loopback_viewers=is_sandbox)
    client_ip = lockable(viewer, private)
    return await visit.upstream.streams.resolve(video, viewer, client_ip=client_ip)


async def look_at_cdn(visit: Visit, url: str) -> AsyncGenerator[Finding, None]:
    """Fetch this machine's own stream URL, as the edge does to check or to relay."""
    settings = visit.settings
    family = settings.platform.address_family
    origin = URL(url, encoded=True).origin()
    yield await reach("cdn", origin, FAMILIES[family], family)
    try:
        async with visit.upstream.cdn.open("GET", url, {"Origin": "null"}) as response:
            status, headers = response.status, response.headers
        report = None
        if status == HTTPStatus.OK:
            received = await visit.upstream.cdn.fetch_playlist(url)
            report = await visit.upstream.checking.check(received)
    except Refusal as refusal:
        yield refused("cdn", refusal)
        return
    if status == HTTPStatus.FORBIDDEN:
        yield warn(
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
    allowed = headers.get("Access-Control-Allow-Origin", "")
    if status == HTTPStatus.OK and allowed != "*":
        yield broken(
            "cors",
            f"the CDN's Access-Control-Allow-Origin is {allowed[:60]!r}, and after the redirect "
            "browsers ask with Origin: null",
            "hls.js and Shaka cannot play this by redirect: use delivery.mode = relay.",
        )
    elif status == HTTPStatus.OK:
        yield ok("cors", "the CDN lets web players read")
    yield await families_of(visit, origin)
    yield await egress_of(visit, origin)


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
    said = f"; platform.egress_ip says {platform.egress_ip}" if platform.egress_ip else ""
    if leaves[0] != leaves[1] and not platform.egress_ip:
        return warn(
            "egress",
            f"{leaves[0]} towards the API, {leaves[1]} towards the CDN{said}",
            "What validate and relay fetch is locked to the address that asked: set "
            "platform.egress_ip to the public one that the CDN sees.",
        )
    return ok("egress", f"{leaves[0]} towards API and CDN{said}")


def source_towards(url: URL, family: socket.AddressFamily) -> str:
    """Return the address of ours from which a host is reached; nothing is sent."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((url.host, url.port))
        return str(probe.getsockname()[0])


async def families_of(visit: Visit, origin: URL) -> Finding:
    """Compare the CDN's address families with what the settings say of them."""
    loop, told = asyncio.get_running_loop(), visit.settings.platform.cdn_families
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
            "The CDN never sees that address: set platform.cdn_families to what it has, and "
            "delivery.family_mismatch = relay.",
        )
    if "ipv6" in told and "ipv6" not in has:
        return warn(
            "families",
            f"{text}, as seen from here, and platform.cdn_families says ipv6 too",
            "Viewers who reach the edge over IPv6 are refused by an IPv4 CDN: set "
            "platform.cdn_families to what it has, and delivery.family_mismatch = relay.",
        )
    return ok("families", f"{text}; platform.cdn_families: {', '.join(told)}")
