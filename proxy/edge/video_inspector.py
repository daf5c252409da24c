"""Inspect a whole video: fetch and check each playlist, and one segment of each."""

from collections.abc import Callable
from dataclasses import dataclass

from proxy.adapters.clock import Clock
from proxy.adapters.dailymotion.cdn import Cdn
from proxy.adapters.dailymotion.cdn_responses import check_status
from proxy.domain.formats import StreamRequest, find_hls
from proxy.domain.reasons import Refusal
from proxy.domain.video import VideoId
from proxy.edge.playlist_checker import PlaylistChecker
from proxy.edge.stream_resolver import StreamResolver
from proxy.hls.document import PlaylistKind
from proxy.hls.lint.findings import Finding, Findings
from proxy.hls.lint.relay_changes import find_relay_changes
from proxy.hls.lint.report import Report
from proxy.hls.model import Child, Playlist
from proxy.hls.reload import MAX_RELOAD_FACTOR, compare


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectedPlaylist:
    """The findings of one playlist; `name` is its name in the Multivariant Playlist."""

    name: str
    kind: PlaylistKind | None
    findings: tuple[Finding, ...]
    text: str


class VideoInspector:
    """Inspects a video, starting from its stream URL."""

    def __init__(
        self, streams: StreamResolver, cdn: Cdn, checker: PlaylistChecker, clock: Clock
    ) -> None:
        self._streams = streams
        self._cdn = cdn
        self._checker = checker
        self._clock = clock

    async def inspect(
        self, video: VideoId, progress: Callable[[int, int, str], None]
    ) -> list[InspectedPlaylist]:
        """Return the findings of every playlist of a video.

        Args:
            video: resolved for the edge's own address.
            progress: called with the number of playlists done, their total, and the next step.

        Raises:
            Refusal: the video cannot be resolved, or its first playlist cannot be fetched.
        """
        progress(0, 1, "stream URL")
        url = find_hls(await self._streams.resolve(StreamRequest(video=video, is_for_edge=True)))
        progress(0, 1, "playlist")
        first, model = await self._inspect_playlist(Child(name="", uri=url, base=""), None)
        inspected = [first]
        children = [*model.variants, *model.renditions, *model.frames] if model is not None else []
        unique = list({child.url: child for child in children}.values())
        for done, child in enumerate(unique, start=1):
            progress(done, 1 + len(unique), child.name)
            try:
                inspected.append((await self._inspect_playlist(child, model))[0])
            except Refusal as refusal:
                inspected.append(_build_missing_result(child.name, refusal))
        progress(1, 1, "")
        return inspected

    async def _inspect_playlist(
        self, child: Child, parent: Playlist | None
    ) -> tuple[InspectedPlaylist, Playlist | None]:
        """Inspect a playlist; its parent is None for the first playlist."""
        received = await self._cdn.fetch_playlist(child.url)
        imported = None if parent is None else parent.variables
        report = await self._checker.check(received, imported=imported)
        findings = [
            *report.findings,
            *find_relay_changes(received.body, received.url, self._cdn.hosts),
        ]
        if parent is not None:
            findings += _check_place(child, parent, report)
        model = await self._checker.read_model(report, received.url, imported)
        if model is not None and model.segments:
            findings += await self._fetch_first_segment(model)
            if model.is_live and parent is not None:
                findings += await self._compare_reload(child, model, parent)
        inspected = InspectedPlaylist(
            name=child.name, kind=report.kind, findings=tuple(findings), text=report.text
        )
        return inspected, model

    async def _fetch_first_segment(self, model: Playlist) -> tuple[Finding, ...]:
        segment = model.segments[-1] if model.is_live else model.segments[0]
        findings = Findings()
        try:
            async with self._cdn.open("GET", segment.url, {"Range": "bytes=0-0"}) as response:
                check_status(response.status)
        except Refusal as refusal:
            findings.add("fetch", None, what=segment.name.capitalize(), why=refusal.detail)
        return findings.in_order()

    async def _compare_reload(
        self, child: Child, before: Playlist, parent: Playlist
    ) -> tuple[Finding, ...]:
        wait = MAX_RELOAD_FACTOR * before.target_duration
        await self._clock.sleep(wait)
        try:
            received = await self._cdn.fetch_playlist(child.url)
        except Refusal as refusal:
            return _build_missing_result("", refusal, what="The reload of this playlist").findings
        report = await self._checker.check(received, imported=parent.variables)
        after = await self._checker.read_model(report, received.url, parent.variables)
        if after is None:
            return report.findings
        return compare(before, after, seconds=wait)


def _check_place(child: Child, parent: Playlist, report: Report) -> tuple[Finding, ...]:
    """Return the findings in a playlist as the child of a Multivariant Playlist."""
    findings = Findings()
    if report.kind == "multivariant":
        findings.add("nested", None)
    is_media = report.kind == "media" and child in parent.frames
    if is_media and "EXT-X-I-FRAMES-ONLY" not in report.tags:
        findings.add("frames-only", None)
    return findings.in_order()


def _build_missing_result(
    name: str, refusal: Refusal, *, what: str = "This playlist"
) -> InspectedPlaylist:
    findings = Findings()
    findings.add("fetch", None, what=what, why=refusal.detail)
    return InspectedPlaylist(name=name, kind=None, findings=findings.in_order(), text="")
