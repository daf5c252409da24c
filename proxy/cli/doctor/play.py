"""Check a play of one video: its stream URL, the CDN, and how the edge would respond."""

import asyncio
import socket
from collections.abc import AsyncGenerator
from dataclasses import replace
from http import HTTPStatus
from ipaddress import IPv4Address, IPv6Address

from yarl import URL

from proxy.adapters.dailymotion.api_session import FAMILIES
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

LOOPBACK_ADDRESSES: dict[str, Address] = {
    "ipv4": IPv4Address("127.0.0.1"),
    "ipv6": IPv6Address("::1"),
}
TOKEN_TTL_SECONDS = 60


async def check_stream(context: CheckContext) -> AsyncGenerator[CheckResult, None]:
    """Fetch stream URLs for the viewer and this machine, then check the CDN and the play."""
    if context.video is None:
        yield build_result("no-video")
        return
    video, streams = context.video, context.process.dailymotion.streams
    # If no viewer was named, a loopback address stands for a viewer on this machine.
    viewer = context.viewer or LOOPBACK_ADDRESSES[context.settings.platform.address_family]
    play, claims = build_play(context, video, viewer), build_claims(context, video)
    name = to_loggable_id(video)
    try:
        if context.viewer is not None:
            config, is_sandbox = context.settings.viewer, context.settings.sandbox
            check_viewer(viewer, config.private, loopback_viewers=is_sandbox)
            url = find_hls(await streams.resolve(play.build_viewer_request()))
            host = URL(url, encoded=True).host
            yield build_result("stream-for-viewer", video=name, host=host, viewer=viewer)
        own = find_hls(await streams.resolve(StreamRequest(video=video, is_for_edge=True)))
        if context.viewer is None:
            host = URL(own, encoded=True).host
            yield build_result("stream-for-this-machine", video=name, host=host)
    except Refusal as refusal:
        yield fail_with_refusal("stream", refusal)
        return
    async for result in check_cdn(context, own, context.delivery.choose_mode(play, claims)):
        yield result
    yield await check_play(context, play, claims)


async def check_play(context: CheckContext, play: PlayRequest, claims: Claims) -> CheckResult:
    """Play the video as the edge would, with a token without limits."""
    mode = context.delivery.choose_mode(play, claims)
    try:
        await context.delivery.deliver(play, claims)
    except Refusal as refusal:
        return fail_with_refusal("play", refusal)
    if mode == "validate":
        verdict = await context.process.playable_cache.find(play.video)
        if verdict.bad_checks:  # the edge refuses after the second bad check in a row
            return fail_with_refusal("play", Refusal(Reason.PLAYLIST_INVALID, verdict.cause))
        if verdict.verdict == "unknown":
            return build_result("unchecked", cause=verdict.cause)
    outcome = "would be relayed" if mode == "relay" else "would be redirected"
    private, is_sandbox = context.settings.viewer.private, context.settings.sandbox
    return assess_play(outcome, play.viewer, private, loopback_viewers=is_sandbox)


def assess_play(
    outcome: str, viewer: Address, private: PrivateViewers, *, loopback_viewers: bool
) -> CheckResult:
    """Build the result of a play, with a warning if the edge refuses this viewer's address.

    Without --ip, `viewer` is a loopback address that represents a player on this machine. A viewer
    given with --ip has already passed the same check, so the warning is only about this machine.
    """
    try:
        check_viewer(viewer, private, loopback_viewers=loopback_viewers)
    except Refusal as refusal:
        reason = refusal.reason
        return build_result("play-public-only", outcome=outcome, code=reason.status, reason=reason)
    return build_result("play-good", outcome=outcome)


def build_play(context: CheckContext, video: VideoId, viewer: Address) -> PlayRequest:
    """Build the play of a viewer; without --ip, the stream is not locked to an address."""
    private = context.settings.viewer.private
    return PlayRequest(
        video=video,
        viewer=viewer,
        client_ip=select_client_ip(viewer, private) if context.viewer else None,
        formats=("hls",),
        method="GET",
        token="",
    )


def build_claims(context: CheckContext, video: VideoId) -> Claims:
    """Build the claims of a valid token for this video, without limits."""
    now = int(context.process.telemetry.clock.now())
    return read_claims({"video": video, "iat": now, "exp": now + TOKEN_TTL_SECONDS})


async def check_cdn(
    context: CheckContext, url: str, mode: Mode
) -> AsyncGenerator[CheckResult, None]:
    """Fetch a stream URL issued for this machine, as the edge does to check or to relay."""
    settings = context.settings
    family = settings.platform.address_family
    origin = URL(url, encoded=True).origin()
    yield await check_host("cdn", origin, FAMILIES[family], family)
    try:
        async with context.process.dailymotion.cdn.open("GET", url, {"Origin": "null"}) as response:
            status, headers = response.status, response.headers
        report = None
        if status == HTTPStatus.OK:
            received = await context.process.dailymotion.cdn.fetch_playlist(url)
            report = await context.process.dailymotion.playlist_checker.check(received)
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
    if mode != "relay":  # relayed streams are fetched by the edge, not by the player
        if status == HTTPStatus.OK:
            yield assess_cdn_cors(headers.get("Access-Control-Allow-Origin", ""))
        yield await check_address_families(context, origin)
    yield await check_egress(context, origin)


def assess_cdn_cors(allowed: str) -> CheckResult:
    """Assess whether a web page may read the CDN's response after a redirect."""
    return build_result("cdn-cors-good" if allowed == "*" else "cdn-cors", allowed=allowed[:60])


async def check_egress(context: CheckContext, cdn: URL) -> CheckResult:
    """Compare the source addresses of connections to the API and to the CDN."""
    platform = context.settings.platform
    family = FAMILIES[platform.address_family]
    api = URL(platform.endpoints.rest_url)
    try:
        sources = [await asyncio.to_thread(find_source_address, url, family) for url in (api, cdn)]
    except OSError:
        return build_result("no-route", family=platform.address_family)
    if sources[0] != sources[1] and not platform.egress_ip:
        return build_result("egress-differs", api=sources[0], cdn=sources[1])
    suffix = f"; platform.egress_ip is {platform.egress_ip}" if platform.egress_ip else ""
    return build_result("egress-good", address=sources[0], suffix=suffix)


def find_source_address(url: URL, family: socket.AddressFamily) -> str:
    """Return this machine's source address for a host. Sends no packet."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((url.host, url.port))
        return str(probe.getsockname()[0])


async def check_address_families(context: CheckContext, origin: URL) -> CheckResult:
    """Compare the CDN's address families with delivery.cdn_families."""
    loop, configured = asyncio.get_running_loop(), context.settings.delivery.cdn_families
    try:
        addresses = await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
    except OSError:
        return build_result("cdn-not-in-dns", host=origin.host)
    cdn_families = sorted({"ipv4" if entry[0] == socket.AF_INET else "ipv6" for entry in addresses})
    families = " and ".join(cdn_families)
    if context.viewer is not None and f"ipv{context.viewer.version}" not in cdn_families:
        version = context.viewer.version
        return build_result(
            "viewer-family", families=families, viewer=context.viewer, version=version
        )
    outcome = "no-ipv6" if "ipv6" in configured and "ipv6" not in cdn_families else "families-good"
    return build_result(outcome, families=families, configured=", ".join(configured))
