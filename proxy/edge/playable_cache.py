"""What is known of a video's playlists, through a stream URL of our own, never a viewer's.

A verdict is remembered for each video; while plays go on it is renewed behind them. Two checks in a
row must find what no player could play before anybody is refused: a CDN that coughs once is no
reason. Whatever keeps us from knowing (a 403 to our address, a timeout, a bot challenge in place of
a playlist) is no reason either. Instances tell each other what they found.
"""

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Literal, get_args

from proxy.adapters.concurrency import BackgroundTasks, SingleFlight
from proxy.adapters.dailymotion.cdn import Cdn
from proxy.adapters.errors import StateError
from proxy.adapters.telemetry import Telemetry
from proxy.adapters.timings import Timings, measure_upstream, timings
from proxy.domain.caches import LruCache
from proxy.domain.formats import StreamRequest, find_hls
from proxy.domain.playlist.model import Child
from proxy.domain.reasons import Refusal
from proxy.domain.video import SAFE_ID, VideoId, to_loggable_id
from proxy.edge.playlist_checker import PlaylistChecker
from proxy.edge.shared_state import SharedState
from proxy.edge.stream_resolver import StreamResolver

Verdict = Literal["ok", "invalid", "unknown"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

MAX_PAGES_PER_PULL = 10  # of the shared log, read in one pull; the next one goes on
MAX_AHEAD_SECONDS = 60.0  # seconds that another instance's clock may be ahead
MAX_CAUSE_LENGTH = 200  # characters
MAX_CACHED_VERDICTS = 10_000  # videos; the one asked for longest ago goes first
# Seconds after which a video that failed one check, or more, is checked again with the next play.
DOUBT_TTL_SECONDS, INVALID_TTL_SECONDS = 1.0, 5.0
MIN_BAD_CHECKS = 2  # in a row, before a verdict is `invalid`
MAX_CHECKED_VARIANTS = 3  # looked at, before all of them are taken to be unplayable
LOG_NAME = "verdicts"  # of all instances, in the state
VERDICT_TTL_SECONDS = 30.0  # seconds after which a verdict is renewed, behind the plays
SHARED_TTL_FACTOR = 2  # times `TTL`: what is older helps nobody who starts now
STORED_TTL_FACTOR = 10  # times `TTL`: older than that, a play waits for the next check


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedVerdict:
    """The verdict on a video: why, from when (monotonic clock), after how many bad checks."""

    verdict: Verdict
    cause: str
    checked_at: float
    bad_checks: int


class PlayableCache:
    """Checks videos, and remembers."""

    def __init__(
        self,
        streams: StreamResolver,
        cdn: Cdn,
        checking: PlaylistChecker,
        state: SharedState,
        telemetry: Telemetry,
        *,
        check_timeout: float,
    ) -> None:
        self._streams = streams
        self._cdn = cdn
        self._checking = checking
        self._state = state
        self._clock = telemetry.clock
        self._checks_made = telemetry.metrics.playlists.checks
        self._log = telemetry.log
        self._check_timeout = check_timeout
        self._known: LruCache[VideoId, CachedVerdict] = LruCache(MAX_CACHED_VERDICTS)
        self._checks: SingleFlight[VideoId, CachedVerdict] = SingleFlight()
        self._tasks = BackgroundTasks()  # renewals, and news for other instances
        self._position = ""

    async def find(self, video: VideoId) -> CachedVerdict:
        """Return what is known of a video; waits for a check only where nothing recent is."""
        known = self._known.get(video)
        if known is None or self._has_expired(known):
            with measure_upstream(self._clock):
                return await self._check_once(video)
        if self._compute_age(known) >= self._compute_ttl(known):
            self._tasks.spawn(self._check_once(video))
        return known

    async def pull(self) -> None:
        """Take in what other instances found; a play never waits for it.

        Raises:
            StateError: the state does not answer.
        """
        is_last, pages = False, 0
        while not is_last and pages < MAX_PAGES_PER_PULL:
            pages += 1
            reading = await self._state.read(LOG_NAME, self._position)
            self._position, is_last = reading.position, reading.is_last
            for entry in reading.entries:
                # What is none is of another version of this program, or nobody's.
                with suppress(ValueError, TypeError, OverflowError, RecursionError):
                    self._store(*self._read_entry(entry))

    async def close(self) -> None:
        """Give up the checks under way."""
        await self._tasks.close()
        await self._checks.close()

    def _has_expired(self, known: CachedVerdict) -> bool:
        return self._compute_age(known) >= VERDICT_TTL_SECONDS * (
            1 if known.verdict == "invalid" else STORED_TTL_FACTOR
        )

    def _compute_age(self, known: CachedVerdict) -> float:
        return self._clock.monotonic() - known.checked_at

    def _compute_ttl(self, known: CachedVerdict) -> float:
        if not known.bad_checks:
            return VERDICT_TTL_SECONDS
        soon = DOUBT_TTL_SECONDS if known.bad_checks < MIN_BAD_CHECKS else INVALID_TTL_SECONDS
        return min(soon, VERDICT_TTL_SECONDS)

    async def _check_once(self, video: VideoId) -> CachedVerdict:
        return await self._checks.join(video, lambda: self._check(video))

    async def _check(self, video: VideoId) -> CachedVerdict:
        timings.set(Timings())  # a check's time is no play's
        before = self._known.get(video)
        verdict, why = await self._check_video(video)
        bad_checks = 0
        if verdict == "invalid":
            bad_checks = 1 + (before.bad_checks if before is not None else 0)
            verdict = "invalid" if bad_checks >= MIN_BAD_CHECKS else "unknown"
        self._checks_made.labels(verdict=verdict).inc()
        if (verdict, why) != (("ok", "") if before is None else (before.verdict, before.cause)):
            write = self._log.warning if verdict == "invalid" else self._log.info
            write("playlist-check", video=to_loggable_id(video), verdict=verdict, detail=why)
        known = CachedVerdict(
            verdict=verdict, cause=why, checked_at=self._clock.monotonic(), bad_checks=bad_checks
        )
        self._known[video] = known
        if self._state.is_shared:
            self._tasks.spawn(self._publish(video, known))
        return known

    def _store(self, video: VideoId, known: CachedVerdict) -> None:
        mine = self._known.get(video)
        if mine is None or mine.checked_at < known.checked_at:
            self._known[video] = known

    async def _publish(self, video: VideoId, known: CachedVerdict) -> None:
        at = round(self._clock.now(), 3)
        entry = json.dumps([video, known.verdict, known.cause, at, known.bad_checks])
        with suppress(StateError):
            await self._state.append(
                LOG_NAME, [entry], keep=VERDICT_TTL_SECONDS * SHARED_TTL_FACTOR
            )

    def _read_entry(self, entry: str) -> tuple[VideoId, CachedVerdict]:
        video, verdict, why, at, bad_checks = json.loads(entry)
        if verdict not in VERDICTS or SAFE_ID.fullmatch(video) is None:
            raise ValueError("not a verdict")
        age = self._clock.now() - float(at)
        if (
            not -MAX_AHEAD_SECONDS <= age < inf
        ):  # NaN, too: a check of tomorrow would be good for ever
            raise ValueError("not a moment of a check")
        age = max(0.0, age)
        return VideoId(str(video)), CachedVerdict(
            verdict=verdict,
            cause=str(why)[:MAX_CAUSE_LENGTH],
            checked_at=self._clock.monotonic() - age,
            bad_checks=int(bad_checks),
        )

    async def _check_video(self, video: VideoId) -> tuple[Verdict, str]:
        try:
            async with asyncio.timeout(self._check_timeout):
                return await self._check_playlists(video)
        except TimeoutError:
            return "unknown", "out of time"
        except Refusal as refusal:
            return "unknown", f"{refusal.reason}: {refusal.detail}"
        except Exception:  # noqa: BLE001  # a bug: it must not refuse a play
            self._log.exception("internal", task="check")
            return "unknown", "internal"

    async def _check_playlists(self, video: VideoId) -> tuple[Verdict, str]:
        url = find_hls(await self._streams.resolve(StreamRequest(video=video, is_for_edge=True)))
        verdict, why, variants = await self._check_playlist(url)
        for variant in variants:
            verdict, why, _ = await self._check_playlist(variant.url)
            if verdict != "invalid":  # a player that finds nothing in one variant tries the next
                break
        return verdict, why

    async def _check_playlist(self, url: str) -> tuple[Verdict, str, tuple[Child, ...]]:
        received = await self._cdn.fetch_playlist(url)
        report = await self._checking.check(received)
        if not report.is_playlist:
            why = "what came is no playlist: a bot challenge may look like that"
            return "unknown", why, ()
        if not report.is_checked:
            return "unknown", report.findings[0].message, ()
        if report.unplayable:
            return "invalid", ", ".join(report.unplayable), ()
        if report.kind != "multivariant":
            return "ok", "", ()
        model = await self._checking.read_model(report, received.url)
        return "ok", "", () if model is None else model.variants[:MAX_CHECKED_VARIANTS]
