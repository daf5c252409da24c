"""A play of one video: its stream URL, the CDN behind it, and what the edge would answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from ipaddress import IPv4Address, IPv6Address

from yarl import URL

from proxy.cli.doctor.cdn import look_at_cdn
from proxy.cli.doctor.findings import Visit, ok, refused, warn
from proxy.cli.options import Finding
from proxy.domain.client_ip import Address, PrivateViewers, lockable, public_viewer
from proxy.domain.formats import StreamRequest, first_hls
from proxy.domain.play_request import PlayRequest
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.tokens.claims import Claims, read_claims
from proxy.domain.video import VideoId, loggable

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
