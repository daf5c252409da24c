"""A play of one video: its stream URL, the CDN behind it, and what the edge would answer."""

import asyncio
import socket
from collections.abc import AsyncGenerator
from dataclasses import replace
from http import HTTPStatus
from ipaddress import IPv4Address, IPv6Address

from yarl import URL

from proxy.cli.doctor.results import CheckContext, build_result, fail_with_refusal
from proxy.cli.doctor.this_machine import check_host
from proxy.cli.options import CheckResult
from proxy.domain.client_ip import Address, PrivateViewers, check_viewer, select_client_ip
from proxy.domain.formats import StreamRequest, find_hls
from proxy.domain.play_request import PlayRequest
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.tokens.claims import Claims, read_claims
from proxy.domain.video import VideoId, to_loggable_id
from proxy.settings.schema import Mode
from proxy.wiring import FAMILIES

LOOPBACK_ADDRESSES: dict[str, Address] = {
    "ipv4": IPv4Address("127.0.0.1"),
    "ipv6": IPv6Address("::1"),
}
TOKEN_TTL_SECONDS = 60  # seconds


async def check_stream(visit: CheckContext) -> AsyncGenerator[CheckResult, None]:
    """Ask for a stream URL as a play does, and fetch one of our own."""
    if visit.video is None:
        yield build_result("no-video")
        return
    video, streams = visit.video, visit.process.dailymotion.streams
    # Whose family and network count if no viewer was named: this machine's.
    viewer = visit.viewer or LOOPBACK_ADDRESSES[visit.settings.platform.address_family]
    play, claims = build_play(visit, video, viewer), build_claims(visit, video)
    name = to_loggable_id(video)
    try:
        if visit.viewer is not None:
            config, is_sandbox = visit.settings.viewer, visit.settings.sandbox
            check_viewer(viewer, config.private, loopback_viewers=is_sandbox)
            url = find_hls(await streams.resolve(play.build_viewer_request()))
            host = URL(url, encoded=True).host
            yield build_result("stream-for-viewer", video=name, host=host, viewer=viewer)
        own = find_hls(await streams.resolve(StreamRequest(video=video, is_for_edge=True)))
        if visit.viewer is None:
            host = URL(own, encoded=True).host
            yield build_result("stream-for-us", video=name, host=host)
    except Refusal as refusal:
        yield fail_with_refusal("stream", refusal)
        return
    async for finding in check_cdn(visit, own, visit.delivery.choose_mode(play, claims)):
        yield finding
    yield await check_play(visit, play, claims)


async def check_play(visit: CheckContext, play: PlayRequest, claims: Claims) -> CheckResult:
    """Play the video as the edge would, with a token that limits nothing."""
    mode = visit.delivery.choose_mode(play, claims)
    try:
        await visit.delivery.deliver(play, claims)
    except Refusal as refusal:
        return fail_with_refusal("play", refusal)
    if mode == "validate":
        known = await visit.process.verdicts.find(play.video)
        if known.bad_checks:  # the edge refuses after the second in a row
            return fail_with_refusal("play", Refusal(Reason.PLAYLIST_INVALID, known.cause))
        if known.verdict == "unknown":
            return build_result("unchecked", why=known.cause)
    outcome = "would be relayed" if mode == "relay" else "would be redirected"
    private, is_sandbox = visit.settings.viewer.private, visit.settings.sandbox
    return assess_play(outcome, play.viewer, private, loopback_viewers=is_sandbox)


def assess_play(
    outcome: str, viewer: Address, private: PrivateViewers, *, loopback_viewers: bool
) -> CheckResult:
    """Say what becomes of a play, and whether the edge lets this very viewer have it.

    A viewer that was named is refused before; what is left is a player on this machine.
    """
    try:
        check_viewer(viewer, private, loopback_viewers=loopback_viewers)
    except Refusal as refusal:
        reason = refusal.reason
        return build_result("play-public-only", outcome=outcome, code=reason.status, reason=reason)
    return build_result("play-good", outcome=outcome)


def build_play(visit: CheckContext, video: VideoId, viewer: Address) -> PlayRequest:
    """Return the play of a viewer; without one that was named, a stream is locked to nobody."""
    private = visit.settings.viewer.private
    return PlayRequest(
        video=video,
        viewer=viewer,
        client_ip=select_client_ip(viewer, private) if visit.viewer else None,
        formats=("hls",),
        method="GET",
        token="",
    )


def build_claims(visit: CheckContext, video: VideoId) -> Claims:
    """Return what a token says that is good for this video, and limits nothing."""
    now = int(visit.process.telemetry.clock.now())
    return read_claims({"video": video, "iat": now, "exp": now + TOKEN_TTL_SECONDS})


async def check_cdn(visit: CheckContext, url: str, mode: Mode) -> AsyncGenerator[CheckResult, None]:
    """Fetch this machine's own stream URL, as the edge does to check or to relay."""
    settings = visit.settings
    family = settings.platform.address_family
    origin = URL(url, encoded=True).origin()
    yield await check_host("cdn", origin, FAMILIES[family], family)
    try:
        async with visit.process.dailymotion.cdn.open("GET", url, {"Origin": "null"}) as response:
            status, headers = response.status, response.headers
        report = None
        if status == HTTPStatus.OK:
            received = await visit.process.dailymotion.cdn.fetch_playlist(url)
            report = await visit.process.dailymotion.playlist_checker.check(received)
    except Refusal as refusal:
        yield fail_with_refusal("cdn", refusal)
        return
    if status == HTTPStatus.FORBIDDEN:
        forbidden = build_result("cdn-forbidden")
        yield replace(forbidden, status="fail") if mode == "relay" else forbidden
    elif report is None or not report.is_playlist:
        yield build_result("no-playlist", code=status)
    elif report.unplayable:
        yield build_result("unplayable", rules=", ".join(report.unplayable))
    else:
        yield build_result("cdn-good", family=family)
    if mode != "relay":  # what it relays, it fetches itself
        if status == HTTPStatus.OK:
            yield assess_cdn_cors(headers.get("Access-Control-Allow-Origin", ""))
        yield await check_address_families(visit, origin)
    yield await check_egress(visit, origin)


def assess_cdn_cors(allowed: str) -> CheckResult:
    """Say whether a page may read what the CDN answers after a redirect."""
    return build_result("cdn-cors-good" if allowed == "*" else "cdn-cors", allowed=allowed[:60])


async def check_egress(visit: CheckContext, cdn: URL) -> CheckResult:
    """Compare the addresses from which this machine leaves to the API and to the CDN."""
    platform = visit.settings.platform
    family = FAMILIES[platform.address_family]
    api = URL(platform.endpoints.rest_url)
    try:
        leaves = [await asyncio.to_thread(find_source_address, url, family) for url in (api, cdn)]
    except OSError:
        return build_result("no-way-out", family=platform.address_family)
    if leaves[0] != leaves[1] and not platform.egress_ip:
        return build_result("egress-differs", api=leaves[0], cdn=leaves[1])
    said = f"; platform.egress_ip says {platform.egress_ip}" if platform.egress_ip else ""
    return build_result("egress-good", address=leaves[0], set=said)


def find_source_address(url: URL, family: socket.AddressFamily) -> str:
    """Return the address of ours from which a host is reached; nothing is sent."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((url.host, url.port))
        return str(probe.getsockname()[0])


async def check_address_families(visit: CheckContext, origin: URL) -> CheckResult:
    """Compare the CDN's address families with what the settings say of them."""
    loop, told = asyncio.get_running_loop(), visit.settings.delivery.cdn_families
    try:
        addresses = await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
    except OSError:
        return build_result("cdn-not-in-dns", host=origin.host)
    has = sorted({"ipv4" if it[0] == socket.AF_INET else "ipv6" for it in addresses})
    families = " and ".join(has)
    if visit.viewer is not None and f"ipv{visit.viewer.version}" not in has:
        version = visit.viewer.version
        return build_result(
            "viewer-family", families=families, viewer=visit.viewer, version=version
        )
    outcome = "no-ipv6" if "ipv6" in told and "ipv6" not in has else "families-good"
    return build_result(outcome, families=families, set=", ".join(told))
