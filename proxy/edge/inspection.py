"""Look at all of a video: its playlists one after the other, and one segment behind each."""

from collections.abc import Callable
from dataclasses import dataclass

from proxy.adapters.clock import Clock
from proxy.adapters.dailymotion.cdn import Cdn, check_status
from proxy.domain.formats import StreamRequest, first_hls
from proxy.domain.playlist.check import Kind
from proxy.domain.playlist.model import Child, Playlist
from proxy.domain.playlist.reload import LATEST, compare
from proxy.domain.playlist.rules import Finding, Findings
from proxy.domain.reasons import Refusal
from proxy.domain.video import VideoId
from proxy.edge.checking import Checking
from proxy.edge.stream_resolver import StreamResolver


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """One playlist: what it is called in the one above, what it is, and what was found."""

    name: str
    kind: Kind | None
    findings: tuple[Finding, ...]
    text: str


class Inspection:
    """Follows a video from its stream URL down."""

    def __init__(self, streams: StreamResolver, cdn: Cdn, checking: Checking, clock: Clock) -> None:
        self._streams = streams
        self._cdn = cdn
        self._checking = checking
        self._clock = clock

    async def inspect(
        self, video: VideoId, progress: Callable[[int, int, str], None]
    ) -> list[Inspected]:
        """Return what is found in every playlist of a video, or refuse where there is none.

        Args:
            video: resolved for our own address.
            progress: told how many are done, of how many, and what comes next.
        """
        progress(0, 1, "stream URL")
        url = first_hls(await self._streams.resolve(StreamRequest(video=video, is_own=True)))
        progress(0, 1, "playlist")
        first, model = await self._look(Child(name="", uri=url, base=""), is_first=True)
        found = [first]
        children = [*model.variants, *model.renditions] if model is not None else []
        unique = list({child.url: child for child in children}.values())
        for done, child in enumerate(unique, start=1):
            progress(done, 1 + len(unique), child.name)
            try:
                found.append((await self._look(child, is_first=False))[0])
            except Refusal as refusal:
                found.append(_missing(child.name, refusal))
        progress(1, 1, "")
        return found

    async def _look(self, child: Child, *, is_first: bool) -> tuple[Inspected, Playlist | None]:
        received = await self._cdn.fetch_playlist(child.url)
        report = await self._checking.check(received)
        findings = list(report.findings)
        model = await self._checking.model(report, received.url)
        if model is not None and model.segments:
            findings += await self._first_segment(model)
            if model.is_live and not is_first:
                findings += await self._reloaded(child, model)
        inspected = Inspected(
            name=child.name, kind=report.kind, findings=tuple(findings), text=report.text
        )
        return inspected, model

    async def _first_segment(self, model: Playlist) -> tuple[Finding, ...]:
        segment = model.segments[-1] if model.is_live else model.segments[0]
        findings = Findings()
        try:
            async with self._cdn.open("GET", segment.url, {"Range": "bytes=0-0"}) as response:
                check_status(response.status)
        except Refusal as refusal:
            findings.add("fetch", None, what=segment.name.capitalize(), why=refusal.detail)
        return findings.in_order()

    async def _reloaded(self, child: Child, before: Playlist) -> tuple[Finding, ...]:
        wait = LATEST * before.target_duration
        await self._clock.sleep(wait)
        try:
            received = await self._cdn.fetch_playlist(child.url)
        except Refusal as refusal:
            return _missing("", refusal, what="Its reload").findings
        report = await self._checking.check(received)
        after = await self._checking.model(report, received.url)
        if after is None:
            return report.findings
        return compare(before, after, seconds=wait)


def _missing(name: str, refusal: Refusal, *, what: str = "It") -> Inspected:
    findings = Findings()
    findings.add("fetch", None, what=what, why=refusal.detail)
    return Inspected(name=name, kind=None, findings=findings.in_order(), text="")
