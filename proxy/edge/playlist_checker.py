"""Check playlists without blocking the event loop: a thread reads the large ones."""

import asyncio
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from proxy.adapters.dailymotion.cdn import ReceivedPlaylist
from proxy.adapters.telemetry import Telemetry
from proxy.domain.allowed_hosts import AllowedHosts
from proxy.domain.reasons import Reason, Refusal
from proxy.edge.turns import Turns
from proxy.hls.lint.check import check
from proxy.hls.lint.report import Report
from proxy.hls.model import Playlist, PlaylistUnreadable, read_model

T = TypeVar("T")
MAX_PARSE_SECONDS = 8.0  # the largest accepted playlists take a second
# Smaller playlists are read on the event loop. At this size, an ordinary playlist takes 9 ms, and a
# playlist of single letters 50 ms.
MIN_THREAD_BYTES = 8_000


class PlaylistChecker:
    """Checks received playlists; exports metrics of the findings and the duration."""

    def __init__(self, telemetry: Telemetry, hosts: AllowedHosts) -> None:
        self._metrics = telemetry.metrics.playlists
        self._clock = telemetry.clock
        self._hosts = hosts
        self.thread = PlaylistThread()

    async def check(
        self,
        received: ReceivedPlaylist,
        *,
        owner: Hashable = None,
        imported: Mapping[str, str | None] | None = None,
    ) -> Report:
        """Return the report on a playlist.

        Args:
            received: the playlist.
            owner: whose turn it is, see `PlaylistThread.run`.
            imported: the variables of its Multivariant Playlist, or None if that is unknown.
        """

        def run() -> tuple[Report, float]:
            started = self._clock.monotonic()
            report = check(
                received.body,
                base=received.url,
                why_not=self._explain_refused_url,
                content_type=received.content_type,
                imported=imported,
            )
            return report, self._clock.monotonic() - started

        report, seconds = await self.thread.run(len(received.body), run, owner=owner)
        self._metrics.check_duration.observe(seconds)
        for rule in {finding.rule for finding in report.findings}:
            self._metrics.findings.labels(rule=rule).inc()
        return report

    async def read_model(
        self, report: Report, base: str, imported: Mapping[str, str | None] | None = None
    ) -> Playlist | None:
        """Return the model of a checked playlist, see `read_model`; None if it is unreadable."""
        if not report.is_playlist or not report.is_checked:
            return None
        try:
            return await self.thread.run(
                len(report.text), lambda: read_model(report.text, base, imported), owner=None
            )
        except PlaylistUnreadable:
            return None

    def _explain_refused_url(self, url: str) -> str:
        try:
            self._hosts.check(url)
        except Refusal as refusal:
            return refusal.detail
        return ""


class PlaylistThread:
    """Runs work on playlists in a single thread, with a fair queue.

    A second thread would not be faster, because Python runs one thread at a time, and the event
    loop would compete with both. Owners take turns, see `Turns`.
    """

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="playlists")
        self._turns = Turns()

    async def run(self, size: int, work: Callable[[], T], *, owner: Hashable) -> T:
        """Run `work` on a playlist of `size` bytes, at once if it is small; return its result.

        Raises:
            Refusal: `overloaded` if it waits too long for its turn; `playlist-invalid` if
                `work` takes longer than `MAX_PARSE_SECONDS`. The thread still completes it.
        """
        if size < MIN_THREAD_BYTES:
            return work()
        async with self._turns.take(owner):
            try:
                async with asyncio.timeout(MAX_PARSE_SECONDS):
                    return await asyncio.get_running_loop().run_in_executor(self._executor, work)
            except TimeoutError:
                detail = f"reading the playlist took more than {MAX_PARSE_SECONDS:g} s"
                raise Refusal(Reason.PLAYLIST_INVALID, detail) from None
