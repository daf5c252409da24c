"""A play of one video: its stream URL, the CDN behind it, and what the edge would answer."""

import asyncio
import socket
from collections.abc import AsyncGenerator
from dataclasses import replace
from http import HTTPStatus
from ipaddress import IPv4Address, IPv6Address

from yarl import URL

from proxy.cli.doctor.findings import Visit, found, refused
from proxy.cli.doctor.local import reach
from proxy.cli.options import Finding
from proxy.domain.client_ip import Address, PrivateViewers, lockable, public_viewer
from proxy.domain.formats import StreamRequest, first_hls
from proxy.domain.play_request import PlayRequest
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.tokens.claims import Claims, read_claims
from proxy.domain.video import VideoId, loggable
from proxy.settings.schema import Mode
from proxy.wiring import FAMILIES

LOOPBACK: dict[str, Address] = {"ipv4": IPv4Address("127.0.0.1"), "ipv6": IPv6Address("::1")}
TOKEN_LIFE = 60  # seconds


async def look_at_stream(visit: Visit) -> AsyncGenerator[Finding, None]:
    """Ask for a stream URL as a play does, and fetch one of our own."""
    if visit.video is None:
        yield found("no-video")
        return
    video, streams = visit.video, visit.process.dailymotion.streams
    # Whose family and network count if no viewer was named: this machine's.
    viewer = visit.viewer or LOOPBACK[visit.settings.platform.address_family]
    play, claims = play_of(visit, video, viewer), claims_of(visit, video)
    name = loggable(video)
    try:
        if visit.viewer is not None:
            config, is_sandbox = visit.settings.viewer, visit.settings.sandbox
            public_viewer(viewer, config.private, loopback_viewers=is_sandbox)
            url = first_hls(await streams.resolve(play.viewer_streams()))
            host = URL(url, encoded=True).host
            yield found("stream-for-viewer", video=name, host=host, viewer=viewer)
        own = first_hls(await streams.resolve(StreamRequest(video=video, is_own=True)))
        if visit.viewer is None:
            host = URL(own, encoded=True).host
            yield found("stream-for-us", video=name, host=host)
    except Refusal as refusal:
        yield refused("stream", refusal)
        return
    async for finding in look_at_cdn(visit, own, visit.delivery.mode_of(play, claims)):
        yield finding
    yield await look_at_play(visit, play, claims)


async def look_at_play(visit: Visit, play: PlayRequest, claims: Claims) -> Finding:
    """Play the video as the edge would, with a token that limits nothing."""
    mode = visit.delivery.mode_of(play, claims)
    try:
        await visit.delivery.deliver(play, claims)
    except Refusal as refusal:
        return refused("play", refusal)
    if mode == "validate":
        known = await visit.process.verdicts.find(play.video)
        if known.bad_checks:  # the edge refuses after the second in a row
            return refused("play", Refusal(Reason.PLAYLIST_INVALID, known.why))
        if known.verdict == "unknown":
            return found("unchecked", why=known.why)
    outcome = "would be relayed" if mode == "relay" else "would be redirected"
    private, is_sandbox = visit.settings.viewer.private, visit.settings.sandbox
    return judge_play(outcome, play.viewer, private, loopback_viewers=is_sandbox)


def judge_play(
    outcome: str, viewer: Address, private: PrivateViewers, *, loopback_viewers: bool
) -> Finding:
    """Say what becomes of a play, and whether the edge lets this very viewer have it.

    A viewer that was named is refused before; what is left is a player on this machine.
    """
    try:
        public_viewer(viewer, private, loopback_viewers=loopback_viewers)
    except Refusal as refusal:
        reason = refusal.reason
        return found("play-public-only", outcome=outcome, code=reason.status, reason=reason)
    return found("play-good", outcome=outcome)


def play_of(visit: Visit, video: VideoId, viewer: Address) -> PlayRequest:
    """Return the play of a viewer; without one that was named, a stream is locked to nobody."""
    private = visit.settings.viewer.private
    return PlayRequest(
        video=video,
        viewer=viewer,
        client_ip=lockable(viewer, private) if visit.viewer else None,
        formats=("hls",),
        method="GET",
        token="",
    )


def claims_of(visit: Visit, video: VideoId) -> Claims:
    """Return what a token says that is good for this video, and limits nothing."""
    now = int(visit.process.telemetry.clock.now())
    return read_claims({"video": video, "iat": now, "exp": now + TOKEN_LIFE})


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
        forbidden = found("cdn-forbidden")
        yield replace(forbidden, status="fail") if mode == "relay" else forbidden
    elif report is None or not report.is_playlist:
        yield found("no-playlist", code=status)
    elif report.unplayable:
        yield found("unplayable", rules=", ".join(report.unplayable))
    else:
        yield found("cdn-good", family=family)
    if mode != "relay":  # what it relays, it fetches itself
        if status == HTTPStatus.OK:
            yield judge_cdn_cors(headers.get("Access-Control-Allow-Origin", ""))
        yield await families_of(visit, origin)
    yield await egress_of(visit, origin)


def judge_cdn_cors(allowed: str) -> Finding:
    """Say whether a page may read what the CDN answers after a redirect."""
    return found("cdn-cors-good" if allowed == "*" else "cdn-cors", allowed=allowed[:60])


async def egress_of(visit: Visit, cdn: URL) -> Finding:
    """Compare the addresses from which this machine leaves to the API and to the CDN."""
    platform = visit.settings.platform
    family = FAMILIES[platform.address_family]
    api = URL(platform.endpoints.rest_url)
    try:
        leaves = [await asyncio.to_thread(source_towards, url, family) for url in (api, cdn)]
    except OSError:
        return found("no-way-out", family=platform.address_family)
    if leaves[0] != leaves[1] and not platform.egress_ip:
        return found("egress-differs", api=leaves[0], cdn=leaves[1])
    said = f"; platform.egress_ip says {platform.egress_ip}" if platform.egress_ip else ""
    return found("egress-good", address=leaves[0], set=said)


def source_towards(url: URL, family: socket.AddressFamily) -> str:
    """Return the address of ours from which a host is reached; nothing is sent."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((url.host, url.port))
        return str(probe.getsockname()[0])


async def families_of(visit: Visit, origin: URL) -> Finding:
    """Compare the CDN's address families with what the settings say of them."""
    loop, told = asyncio.get_running_loop(), visit.settings.delivery.cdn_families
    try:
        addresses = await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
    except OSError:
        return found("cdn-not-in-dns", host=origin.host)
    has = sorted({"ipv4" if it[0] == socket.AF_INET else "ipv6" for it in addresses})
    families = " and ".join(has)
    if visit.viewer is not None and f"ipv{visit.viewer.version}" not in has:
        version = visit.viewer.version
        return found("viewer-family", families=families, viewer=visit.viewer, version=version)
    outcome = "no-ipv6" if "ipv6" in told and "ipv6" not in has else "families-good"
    return found(outcome, families=families, set=", ".join(told))
