"""What a live Media Playlist must keep to from one reload to the next (RFC 8216bis, 6.2.1)."""

from proxy.hls.lint.findings import Finding, Findings
from proxy.hls.model import Playlist

MAX_RELOAD_FACTOR = 1.5  # target durations within which a live playlist has something new


def compare(before: Playlist, after: Playlist, *, seconds: float) -> tuple[Finding, ...]:
    """Return what is odd about a playlist that was reloaded after some seconds."""
    findings = Findings()
    if after.media_sequence < before.media_sequence:
        findings.add(
            "sequence-fell", None, before=before.media_sequence, after=after.media_sequence
        )
    if after.target_duration != before.target_duration:
        findings.add(
            *("target-changed", None),
            before=before.target_duration,
            after=after.target_duration,
        )
    has_moved = _end(after) != _end(before) or after.has_ended
    if not has_moved and seconds >= MAX_RELOAD_FACTOR * before.target_duration:
        findings.add("window-stood", None, seconds=f"{seconds:g}")
    return findings.in_order()


def _end(playlist: Playlist) -> int:
    return playlist.media_sequence + len(playlist.segments)
