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
    if after.is_event and after.media_sequence > before.media_sequence:
        findings.add("event-shrank", None)
    if (number := _find_changed_segment(before, after)) is not None:
        findings.add("segment-changed", None, number=number)
    has_moved = _end(after) != _end(before) or after.has_ended
    if not has_moved and seconds >= MAX_RELOAD_FACTOR * before.target_duration:
        findings.add("window-stood", None, seconds=f"{seconds:g}")
    return findings.in_order()


def _find_changed_segment(before: Playlist, after: Playlist) -> int | None:
    """Return the first Media Sequence Number whose segment has another path."""
    paths = dict(enumerate(_list_paths(before), start=before.media_sequence))
    for number, path in enumerate(_list_paths(after), start=after.media_sequence):
        if paths.get(number, path) != path:
            return number
    return None


def _list_paths(playlist: Playlist) -> list[str]:
    """Return the URIs of the segments without their queries, which may be signed anew."""
    return [segment.uri.partition("?")[0] for segment in playlist.segments]


def _end(playlist: Playlist) -> int:
    return playlist.media_sequence + len(playlist.segments)
