"""Players that play continuously, each play as a new viewer, and record every outcome."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Literal, get_args

import aiohttp
from support import build_sandbox_minter, wait_until
from traffic import find_first_path
from yarl import URL

from faults.broken_exchanges import CUT, OK
from proxy.adapters.clock import Clock
from proxy.edge.token_minter import TokenMinter

PlayKind = Literal["redirect", "playlist", "bytes"]
PLAY_KINDS: tuple[PlayKind, ...] = get_args(PlayKind)
VIDEOS: dict[PlayKind, str] = {"redirect": "x8demo1", "playlist": "x8live1", "bytes": "x8tall1"}
SEGMENT_VIEWER = "8.8.8.8"  # the viewer of the relayed playback whose bytes are fetched

NO_RESPONSE = "no response"
MAX_RESPONSE_SECONDS = 25.0  # that a player waits for a response
PAUSE_SECONDS = 0.02  # between two plays; a slow play is followed by a pause of its own length
MAX_WAIT_SECONDS = 60.0  # that a test waits for plays
PLAYERS_PER_KIND = 3


@dataclass(frozen=True, slots=True)
class PlayResult:
    """The outcome of one play."""

    kind: PlayKind
    outcome: str  # OK, a reason, CUT or NO_RESPONSE
    started_at: float  # seconds on the monotonic clock
    seconds: float


class PlayControl:
    """Counts the plays in flight, and can hold back new ones."""

    def __init__(self) -> None:
        self.may_start = asyncio.Event()
        self.may_start.set()
        self.in_flight = 0

    @asynccontextmanager
    async def hold_plays(self) -> AsyncIterator[None]:
        """Wait for the plays in flight, and hold back new ones; connections stay open."""
        self.may_start.clear()
        try:
            await wait_until(lambda: self.in_flight == 0, MAX_WAIT_SECONDS)
            yield
        finally:
            self.may_start.set()


@dataclass(slots=True)
class Players:
    """Players of three kinds: for redirects, relayed playlists, and the bytes of a segment."""

    edge: str  # the player port's origin
    minter: TokenMinter
    play_control: PlayControl
    results: list[PlayResult] = field(default_factory=list)
    is_over: bool = False
    _viewers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _segment: str = ""

    async def start_playback(self) -> None:
        """Start the relayed playback whose bytes are fetched."""
        async with aiohttp.ClientSession() as session:
            outcome, first = await self.fetch(
                session, self.build_play_path("bytes"), SEGMENT_VIEWER
            )
            assert outcome == OK, first
            playlist = find_first_path(first)
            _, media = await self.fetch(session, playlist, SEGMENT_VIEWER)
            self._segment = find_first_path(media, playlist)

    async def keep_playing(self, kind: PlayKind) -> None:
        async with aiohttp.ClientSession() as session:
            while not self.is_over:
                await self.play_control.may_start.wait()
                started_at = monotonic()
                self.play_control.in_flight += 1
                outcome = await self.play(session, kind)
                self.play_control.in_flight -= 1
                seconds = monotonic() - started_at
                self.results.append(PlayResult(kind, outcome, started_at, seconds))
                await asyncio.sleep(max(PAUSE_SECONDS, seconds) if outcome == OK else PAUSE_SECONDS)

    async def play(self, session: aiohttp.ClientSession, kind: PlayKind) -> str:
        if kind == "bytes":
            return (await self.fetch(session, self._segment, SEGMENT_VIEWER))[0]
        viewer = build_viewer_address(self._viewers)
        outcome, body = await self.fetch(session, self.build_play_path(kind), viewer)
        if kind == "playlist" and outcome == OK:  # continue with the media playlist
            outcome, _ = await self.fetch(session, find_first_path(body), viewer)
        return outcome

    def build_play_path(self, kind: PlayKind) -> str:
        video = VIDEOS[kind]
        return f"/play/{video}.m3u8?token={self.minter.mint(video=video).token}"

    async def fetch(
        self, session: aiohttp.ClientSession, path: str, viewer: str
    ) -> tuple[str, str]:
        """Return the outcome of a request, and the body of its response."""
        url, headers = URL(self.edge + path, encoded=True), {"X-Forwarded-For": viewer}
        outcome = NO_RESPONSE
        try:
            async with (
                asyncio.timeout(MAX_RESPONSE_SECONDS),
                session.get(url, headers=headers, allow_redirects=False) as response,
            ):
                outcome = CUT
                body = await response.read()
                return response.headers.get("X-Deny-Reason", OK), body.decode(errors="replace")
        except (aiohttp.ClientError, OSError):  # including TimeoutError
            return outcome, ""

    async def wait_for(self, count: int, is_expected: Callable[[PlayResult], bool]) -> None:
        """Wait until `count` plays of each kind, started from now on, have ended as expected.

        Raises:
            AssertionError: there were fewer within MAX_WAIT_SECONDS.
        """
        first, since = len(self.results), monotonic()

        def is_enough() -> bool:
            new = [
                result
                for result in self.results[first:]
                if result.started_at >= since and is_expected(result)
            ]
            return all(sum(result.kind == kind for result in new) >= count for kind in PLAY_KINDS)

        try:
            await wait_until(is_enough, MAX_WAIT_SECONDS)
        except TimeoutError:
            counts = Counter((result.kind, result.outcome) for result in self.results[first:])
            raise AssertionError(
                f"too few expected plays in {MAX_WAIT_SECONDS:.0f} s: {dict(counts)}"
            ) from None


def build_viewer_address(numbers: Iterator[int]) -> str:
    """Return the address of a new viewer."""
    n = next(numbers)
    return f"8.{n // 62_500 % 200 + 10}.{n // 250 % 250}.{n % 250 + 1}"


@asynccontextmanager
async def run_players(
    edge: str, clock: Clock | None = None, play_control: PlayControl | None = None
) -> AsyncIterator[Players]:
    """Keep players playing until the context is left."""
    minter = build_sandbox_minter(clock)
    players = Players(edge, minter, play_control or PlayControl())
    await players.start_playback()
    tasks = [
        asyncio.create_task(players.keep_playing(kind)) for kind in PLAY_KINDS * PLAYERS_PER_KIND
    ]
    try:
        yield players
    finally:
        players.is_over = True
        await asyncio.gather(*tasks)
