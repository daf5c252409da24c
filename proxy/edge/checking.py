"""Check playlists and change them, without holding up anybody else."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from proxy.adapters.clock import Clock
from proxy.adapters.dailymotion.cdn import Received
from proxy.adapters.metrics import Metrics
from proxy.domain.playlist.check import Report, check
from proxy.domain.playlist.model import Playlist, PlaylistUnreadable, read_model
from proxy.domain.reasons import Refusal
from proxy.edge.reading_thread import ReadingThread


class Checking:
    """Applies the rules to what was received; counts what is found and how long it took."""

    def __init__(self, metrics: Metrics, clock: Clock, allow: Callable[[str], str]) -> None:
        self._metrics = metrics
        self._clock = clock
        self._allow = allow
        self.thread = ReadingThread()

    async def check(self, received: Received, *, owner: Hashable = None) -> Report:
        """Return what is found in a playlist; `owner`s take turns."""

        def run() -> tuple[Report, float]:
            started = self._clock.monotonic()
            report = check(
                received.body,
                base=received.url,
                why_not=self._why_not,
                content_type=received.content_type,
            )
            return report, self._clock.monotonic() - started

        report, seconds = await self.thread.run(len(received.body), run, owner=owner)
        self._metrics.playlist_check_duration.observe(seconds)
        for rule in {finding.rule for finding in report.findings}:
            self._metrics.playlist_findings.labels(rule=rule).inc()
        return report

    async def model(self, report: Report, base: str) -> Playlist | None:
        """Return what a checked playlist offers; None where that cannot be told."""
        if not report.is_playlist or not report.is_checked:
            return None
        try:
            return await self.thread.run(
                len(report.text), lambda: read_model(report.text, base), owner=None
            )
        except PlaylistUnreadable:
            return None

    def _why_not(self, url: str) -> str:
        try:
            self._allow(url)
        except Refusal as refusal:
            return refusal.detail
        return ""
