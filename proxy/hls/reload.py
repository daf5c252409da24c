"""The rules for the reload of a live Media Playlist (RFC 8216bis, 6.2.1 and 6.2.2)."""

from proxy.hls.lint.findings import Finding, Findings
from proxy.hls.model import Playlist

MAX_RELOAD_FACTOR = 1.5  # target durations within which a live playlist has something new


def compare(before: Playlist, after: Playlist, *, seconds: float) -> tuple[Finding, ...]:
    """Return the findings in a playlist that was reloaded after a number of seconds."""
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
    has_shrunk = after.media_sequence > before.media_sequence or _end(after) < _end(before)
    if before.playlist_type == "EVENT" and has_shrunk:
        findings.add("event-shrank", None)
    names = before.segment_names, after.segment_names
    if before.playlist_type == "VOD" and names[0] != names[1]:
        findings.add("vod-changed", None)
    elif (number := _find_changed_segment(before, after)) is not None:
        findings.add("segment-changed", None, number=number)
    has_moved = _end(after) != _end(before) or after.has_ended
    if not has_moved and seconds >= MAX_RELOAD_FACTOR * before.target_duration:
        findings.add("window-stood", None, seconds=f"{seconds:g}")
    return findings.in_order()


def _find_changed_segment(before: Playlist, after: Playlist) -> int | None:
    """Return the first Media Sequence Number whose segment has another name."""
    if after.media_sequence < before.media_sequence:  # the rule `sequence-fell` reports that
        return None
    names = dict(enumerate(before.segment_names, start=before.media_sequence))
    for number, name in enumerate(after.segment_names, start=after.media_sequence):
        if names.get(number, name) != name:
            return number
    return None


def _end(playlist: Playlist) -> int:
    return playlist.media_sequence + len(playlist.segments)
