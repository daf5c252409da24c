"""Check playlists and change them, without holding up anybody else."""

from collections.abc import Hashable

from proxy.adapters.dailymotion.cdn import Received
from proxy.adapters.telemetry import Telemetry
from proxy.domain.allowed_hosts import AllowedHosts
from proxy.domain.playlist.check import Report, check
from proxy.domain.playlist.model import Playlist, PlaylistUnreadable, read_model
from proxy.domain.reasons import Refusal
from proxy.edge.reading_thread import ReadingThread


class Checking:
    """Applies the rules to what was received; counts what is found and how long it took."""

    def __init__(self, telemetry: Telemetry, hosts: AllowedHosts) -> None:
        self._metrics = telemetry.metrics.playlists
        self._clock = telemetry.clock
        self._hosts = hosts
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
        self._metrics.check_duration.observe(seconds)
        for rule in {finding.rule for finding in report.findings}:
            self._metrics.findings.labels(rule=rule).inc()
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
            self._hosts.check(url)
        except Refusal as refusal:
            return refusal.detail
        return ""
