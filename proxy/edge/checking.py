"""Check playlists and change them, without holding up anybody else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from proxy.adapters.clock import Clock
from proxy.adapters.dailymotion.cdn import Received
from proxy.adapters.metrics import Metrics
from proxy.domain.playlist.check import Report, check
from proxy.domain.playlist.model import Playlist, PlaylistUnreadable, read_model
from proxy.domain.reasons import Reason, Refusal

T = TypeVar("T")

MAX_SECONDS = 8.0  # the longest that may be read take a second
LARGE = 50_000  # bytes: from here on it takes milliseconds, which are another thread's


class Checking:
    """Applies the rules to what was received; counts what is found and how long it took."""

    def __init__(self, metrics: Metrics, clock: Clock, allow: Callable[[str], str]) -> None:
        self._metrics = metrics
        self._clock = clock
        self._allow = allow

    async def check(self, received: Received) -> Report:
        """Return what is found in a playlist."""
        started = self._clock.monotonic()
        report = await aside(
            len(received.body),
            lambda: check(
                received.body,
                base=received.url,
                why_not=self._why_not,
                content_type=received.content_type,
            ),
        )
        self._metrics.playlist_check_duration.observe(self._clock.monotonic() - started)
        for rule in {finding.rule for finding in report.findings}:
            self._metrics.playlist_findings.labels(rule=rule).inc()
        return report

    async def model(self, report: Report, base: str) -> Playlist | None:
        """Return what a checked playlist offers; None where that cannot be told."""
        if not report.is_playlist or not report.is_checked:
            return None
        try:
            return await aside(len(report.text), lambda: read_model(report.text, base))
        except PlaylistUnreadable:
            return None

    def _why_not(self, url: str) -> str:
        try:
            self._allow(url)
        except Refusal as refusal:
            return refusal.detail
        return ""


async def aside(size: int, work: Callable[[], T]) -> T:
    """Return what `work` does with so many bytes: at once if they are few, else in a thread.

    Raises:
        Refusal: `playlist-invalid`, if it takes longer than `MAX_SECONDS`. The thread goes on.
    """
    if size < LARGE:
        return work()
    try:
        async with asyncio.timeout(MAX_SECONDS):
            return await asyncio.to_thread(work)
    except TimeoutError:
        detail = f"reading the playlist took more than {MAX_SECONDS:g} s"
        raise Refusal(Reason.PLAYLIST_INVALID, detail) from None
