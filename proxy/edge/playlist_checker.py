"""Check playlists without holding up anybody else: a thread reads the large ones."""

import asyncio
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import TypeVar
from weakref import WeakValueDictionary

from proxy.adapters.dailymotion.cdn import ReceivedPlaylist
from proxy.adapters.telemetry import Telemetry
from proxy.domain.allowed_hosts import AllowedHosts
from proxy.domain.playlist.check import Report, check
from proxy.domain.playlist.model import Playlist, PlaylistUnreadable, read_model
from proxy.domain.reasons import Reason, Refusal, build_overload_refusal

T = TypeVar("T")
MAX_QUEUE_SECONDS = 4.0  # for its turn; players ask again
MAX_PARSE_SECONDS = 8.0  # the longest that may be read take a second
MIN_THREAD_BYTES = 8_000  # bytes: an ordinary one takes 9 ms, and one of single letters 50


class PlaylistChecker:
    """Applies the rules to what was received; counts what is found and how long it took."""

    def __init__(self, telemetry: Telemetry, hosts: AllowedHosts) -> None:
        self._metrics = telemetry.metrics.playlists
        self._clock = telemetry.clock
        self._hosts = hosts
        self.thread = PlaylistThread()

    async def check(self, received: ReceivedPlaylist, *, owner: Hashable = None) -> Report:
        """Return what is found in a playlist; `owner`s take turns."""

        def run() -> tuple[Report, float]:
            started = self._clock.monotonic()
            report = check(
                received.body,
                base=received.url,
                why_not=self._explain_refused_url,
                content_type=received.content_type,
            )
            return report, self._clock.monotonic() - started

        report, seconds = await self.thread.run(len(received.body), run, owner=owner)
        self._metrics.check_duration.observe(seconds)
        for rule in {finding.rule for finding in report.findings}:
            self._metrics.findings.labels(rule=rule).inc()
        return report

    async def read_model(self, report: Report, base: str) -> Playlist | None:
        """Return what a checked playlist offers; None where that cannot be told."""
        if not report.is_playlist or not report.is_checked:
            return None
        try:
            return await self.thread.run(
                len(report.text), lambda: read_model(report.text, base), owner=None
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
    """Reads playlists without holding up anybody else.

    Two threads would read no faster, since Python runs one at a time, and answers would wait for
    both. An owner, a viewer's network say, has one playlist in the queue: owners take turns.
    """

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="playlists")
        self._free = asyncio.Lock()
        self._turns: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()

    async def run(self, size: int, work: Callable[[], T], *, owner: Hashable) -> T:
        """Return what `work` does with so many bytes: at once if they are few.

        Raises:
            Refusal: `overloaded`, if its turn does not come; `playlist-invalid`, if it takes
                longer than `MAX_SECONDS`. The thread goes on.
        """
        if size < MIN_THREAD_BYTES:
            return work()
        turn = self._turns.setdefault(owner, asyncio.Lock())
        async with AsyncExitStack() as held:
            try:
                async with asyncio.timeout(MAX_QUEUE_SECONDS):
                    await held.enter_async_context(turn)
                    await held.enter_async_context(self._free)
            except TimeoutError:
                raise build_overload_refusal(
                    f"a playlist waited {MAX_QUEUE_SECONDS:g} s to be read"
                ) from None
            try:
                async with asyncio.timeout(MAX_PARSE_SECONDS):
                    return await asyncio.get_running_loop().run_in_executor(self._executor, work)
            except TimeoutError:
                detail = f"reading the playlist took more than {MAX_PARSE_SECONDS:g} s"
                raise Refusal(Reason.PLAYLIST_INVALID, detail) from None
