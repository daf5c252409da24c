"""Cache, for each video, whether its playlists are playable.

The edge checks the playlists through a stream URL of its own, never a viewer's. If the verdict on
a video is old, the next play triggers a new check in the background. A video is refused only after
two consecutive checks found playlists that no player could play. Plays are not blocked by one bad
check, nor by a check without a result (a 403 to the edge's address, a timeout, a bot challenge
instead of a playlist). Instances share their verdicts through the shared state.
"""

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Literal, get_args

from proxy.adapters.concurrency import BackgroundTasks, SingleFlight
from proxy.adapters.dailymotion.cdn import Cdn
from proxy.adapters.errors import INTERNAL_ERROR, StateError
from proxy.adapters.telemetry import Telemetry
from proxy.adapters.timings import Timings, UpstreamTimer, timings
from proxy.domain.caches import LruCache
from proxy.domain.formats import StreamRequest, find_hls
from proxy.domain.reasons import Refusal
from proxy.domain.video import SAFE_ID, VideoId, to_loggable_id
from proxy.edge.playlist_checker import PlaylistChecker
from proxy.edge.shared_state import SharedState
from proxy.edge.stream_resolver import StreamResolver
from proxy.hls.model import Child

Verdict = Literal["ok", "invalid", "unknown"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

MAX_PAGES_PER_PULL = 10  # of the shared log; the next pull continues there
MAX_AHEAD_SECONDS = 60.0  # by which another instance's clock may be ahead
MAX_CAUSE_LENGTH = 200  # characters
MAX_CACHED_VERDICTS = 10_000  # videos; the least recently used is evicted first
# The lifetime of a verdict after one bad check, and after MIN_BAD_CHECKS.
ONE_BAD_CHECK_TTL_SECONDS, INVALID_TTL_SECONDS = 1.0, 5.0
MIN_BAD_CHECKS = 2  # consecutive bad checks that make a verdict `invalid`
MAX_CHECKED_VARIANTS = 3  # if all of them are unplayable, so is the video
LOG_NAME = "verdicts"  # of the log in the shared state
VERDICT_TTL_SECONDS = 30.0  # after this, plays refresh the verdict in the background
LOG_TTL_FACTOR = 2  # the shared log keeps a verdict for this many VERDICT_TTL_SECONDS
# From this many VERDICT_TTL_SECONDS on, a play waits for a new check; if the verdict is `invalid`,
# from one.
MAX_AGE_FACTOR = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedVerdict:
    """The verdict on a video; `checked_at` in seconds on the monotonic clock."""

    verdict: Verdict
    cause: str
    checked_at: float
    bad_checks: int


class PlayableCache:
    """Checks videos and caches the verdicts."""

    def __init__(
        self,
        streams: StreamResolver,
        cdn: Cdn,
        checker: PlaylistChecker,
        state: SharedState,
        telemetry: Telemetry,
        *,
        check_timeout: float,
    ) -> None:
        self._streams = streams
        self._cdn = cdn
        self._checker = checker
        self._state = state
        self._clock = telemetry.clock
        self._checks_made = telemetry.metrics.playlists.checks
        self._log = telemetry.log
        self._check_timeout = check_timeout
        self._verdicts: LruCache[VideoId, CachedVerdict] = LruCache(MAX_CACHED_VERDICTS)
        self._checks: SingleFlight[VideoId, CachedVerdict] = SingleFlight()
        self._tasks = BackgroundTasks()  # refreshes, and verdicts to publish
        self._position = ""

    async def find(self, video: VideoId) -> CachedVerdict:
        """Return the verdict on a video; wait for a check only if no recent verdict is cached."""
        cached = self._verdicts.get(video)
        if cached is None or self._has_expired(cached):
            with UpstreamTimer(self._clock):
                return await self._check_once(video)
        if self._compute_age(cached) >= self._compute_ttl(cached):
            self._tasks.spawn(self._check_once(video))
        return cached

    async def pull(self) -> None:
        """Read the verdicts of other instances from the shared state; plays never wait for this.

        Raises:
            StateError: the shared state does not respond.
        """
        is_last, pages = False, 0
        while not is_last and pages < MAX_PAGES_PER_PULL:
            pages += 1
            page = await self._state.read(LOG_NAME, self._position)
            self._position, is_last = page.position, page.is_last
            for entry in page.entries:
                # Skip malformed entries: from another version of Playgate, or another writer.
                with suppress(ValueError, TypeError, OverflowError, RecursionError):
                    self._store(*self._read_entry(entry))

    async def close(self) -> None:
        """Cancel the checks in flight."""
        await self._tasks.close()
        await self._checks.close()

    def _has_expired(self, cached: CachedVerdict) -> bool:
        return self._compute_age(cached) >= VERDICT_TTL_SECONDS * (
            1 if cached.verdict == "invalid" else MAX_AGE_FACTOR
        )

    def _compute_age(self, cached: CachedVerdict) -> float:
        return self._clock.monotonic() - cached.checked_at

    def _compute_ttl(self, cached: CachedVerdict) -> float:
        if not cached.bad_checks:
            return VERDICT_TTL_SECONDS
        ttl = (
            ONE_BAD_CHECK_TTL_SECONDS if cached.bad_checks < MIN_BAD_CHECKS else INVALID_TTL_SECONDS
        )
        return min(ttl, VERDICT_TTL_SECONDS)

    async def _check_once(self, video: VideoId) -> CachedVerdict:
        return await self._checks.join(video, lambda: self._check(video))

    async def _check(self, video: VideoId) -> CachedVerdict:
        timings.set(Timings())  # the time of a check does not count as the time of a play
        before = self._verdicts.get(video)
        verdict, cause = await self._check_video(video)
        bad_checks = 0
        if verdict == "invalid":
            bad_checks = 1 + (before.bad_checks if before is not None else 0)
            verdict = "invalid" if bad_checks >= MIN_BAD_CHECKS else "unknown"
        self._checks_made.labels(verdict=verdict).inc()
        if (verdict, cause) != (("ok", "") if before is None else (before.verdict, before.cause)):
            write = self._log.warning if verdict == "invalid" else self._log.info
            write("playlist-check", video=to_loggable_id(video), verdict=verdict, detail=cause)
        latest = CachedVerdict(
            verdict=verdict, cause=cause, checked_at=self._clock.monotonic(), bad_checks=bad_checks
        )
        self._verdicts[video] = latest
        if self._state.is_shared:
            self._tasks.spawn(self._publish(video, latest))
        return latest

    def _store(self, video: VideoId, received: CachedVerdict) -> None:
        cached = self._verdicts.get(video)
        if cached is None or cached.checked_at < received.checked_at:
            self._verdicts[video] = received

    async def _publish(self, video: VideoId, latest: CachedVerdict) -> None:
        at = round(self._clock.now(), 3)
        entry = json.dumps([video, latest.verdict, latest.cause, at, latest.bad_checks])
        with suppress(StateError):
            await self._state.append(LOG_NAME, [entry], keep=VERDICT_TTL_SECONDS * LOG_TTL_FACTOR)

    def _read_entry(self, entry: str) -> tuple[VideoId, CachedVerdict]:
        video, verdict, cause, at, bad_checks = json.loads(entry)
        if verdict not in VERDICTS or SAFE_ID.fullmatch(video) is None:
            raise ValueError("the entry has no valid verdict or video")
        age = self._clock.now() - float(at)
        # False for NaN, too. An entry dated far in the future would stay valid until that date.
        if not -MAX_AHEAD_SECONDS <= age < inf:
            raise ValueError("the entry has no valid time")
        age = max(0.0, age)
        return VideoId(str(video)), CachedVerdict(
            verdict=verdict,
            cause=str(cause)[:MAX_CAUSE_LENGTH],
            checked_at=self._clock.monotonic() - age,
            bad_checks=int(bad_checks),
        )

    async def _check_video(self, video: VideoId) -> tuple[Verdict, str]:
        try:
            async with asyncio.timeout(self._check_timeout):
                return await self._check_playlists(video)
        except TimeoutError:
            return "unknown", "the check took too long"
        except Refusal as refusal:
            return "unknown", f"{refusal.reason}: {refusal.detail}"
        except Exception:  # noqa: BLE001  # a bug; it must not refuse a play
            self._log.exception("internal", task="playlist-check")
            return "unknown", INTERNAL_ERROR

    async def _check_playlists(self, video: VideoId) -> tuple[Verdict, str]:
        url = find_hls(await self._streams.resolve(StreamRequest(video=video, is_for_edge=True)))
        verdict, cause, variants = await self._check_playlist(url)
        for variant in variants:
            verdict, cause, _ = await self._check_playlist(variant.url)
            if verdict != "invalid":  # players skip an unplayable variant and try the next
                break
        return verdict, cause

    async def _check_playlist(self, url: str) -> tuple[Verdict, str, tuple[Child, ...]]:
        received = await self._cdn.fetch_playlist(url)
        report = await self._checker.check(received)
        if not report.is_playlist:
            cause = "the CDN's response is not a playlist; it may be a bot challenge"
            return "unknown", cause, ()
        if not report.is_checked:
            return "unknown", report.findings[0].message, ()
        if report.unplayable:
            return "invalid", ", ".join(report.unplayable), ()
        if report.kind != "multivariant":
            return "ok", "", ()
        model = await self._checker.read_model(report, received.url)
        return "ok", "", () if model is None else model.variants[:MAX_CHECKED_VARIANTS]
