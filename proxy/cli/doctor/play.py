"""A play of one video: its stream URL, the CDN behind it, and what the edge would answer."""

import asyncio
import socket
from collections.abc import AsyncGenerator
from http import HTTPStatus
from ipaddress import IPv4Address, IPv6Address

from yarl import URL

from proxy.cli.doctor.findings import Visit, broken, ok, refused, warn
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
        step = "Run it again with --video ID --ip ADDRESS, of a viewer for whom it does not play."
        yield warn("stream", "no video was named, so none was looked at", step)
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
            yield ok("stream", f"{name} has a stream at {host} for {viewer}")
        own = first_hls(await streams.resolve(StreamRequest(video=video, is_own=True)))
        if visit.viewer is None:
            host = URL(own, encoded=True).host
            yield ok("stream", f"{name} has a stream at {host}, for this machine")
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
            text = f"would be redirected unchecked: {known.why}"
            return warn("play", text, "The line cdn says what keeps the check from this video.")
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
        text = (
            f"a viewer with a public address {outcome}; a player on this machine gets "
            f"{refusal.reason.status} {refusal.reason}"
        )
        step = (
            "Nobody's stream can be locked to a loopback address. Name a viewer with --ip; to play "
            'on this machine without nginx, set private = "omit" under [viewer].'
        )
        return warn("play", text, step)
    return ok("play", outcome)


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
