"""Players without a pause: each play is a new viewer's, and what it came to is kept."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Literal, get_args

import aiohttp
from support import SANDBOX_TOML, eventually
from traffic import child_of
from yarl import URL

from faults.broken_exchanges import CUT, OK
from proxy.adapters.clock import Clock
from proxy.edge.token_minter import TokenMinter
from proxy.settings import load_settings

Part = Literal["redirect", "playlist", "bytes"]
PARTS: tuple[Part, ...] = get_args(Part)
VIDEOS: dict[Part, str] = {"redirect": "x8demo1", "playlist": "x8live1", "bytes": "x8tall1"}
SPECTATOR = "8.8.8.8"  # who stays, and fetches bytes

NOBODY = "no answer"
PATIENCE = 25.0  # seconds that a player waits
PAUSE = 0.02  # seconds between two plays; after a slow one, as long as it took
MOST = 60.0  # seconds that a test waits
EACH = 3  # players of each kind


@dataclass(frozen=True, slots=True)
class Seen:
    """What one play came to."""

    part: Part
    outcome: str  # OK, a reason, CUT or NOBODY
    began_at: float  # seconds on the monotonic clock
    seconds: float


class Traffic:
    """Counts the plays under way, and can hold back the next ones."""

    def __init__(self) -> None:
        self.may_begin = asyncio.Event()
        self.may_begin.set()
        self.under_way = 0

    @asynccontextmanager
    async def stopped(self) -> AsyncIterator[None]:
        """Hold plays back until the context is left, with every player's connection kept alive."""
        self.may_begin.clear()
        try:
            await eventually(lambda: self.under_way == 0, MOST)
            yield
        finally:
            self.may_begin.set()


@dataclass(slots=True)
class Players:
    """Players of three kinds: redirected, relayed, and amid a relayed playback."""

    edge: str  # the player port's origin
    minting: TokenMinter
    traffic: Traffic
    seen: list[Seen] = field(default_factory=list)
    is_over: bool = False
    _viewers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _segment: str = ""

    async def begin(self) -> None:
        """Begin the playback whose bytes are fetched."""
        async with aiohttp.ClientSession() as session:
            begun, first = await self.fetch(session, self.path_of("bytes"), SPECTATOR)
            assert begun == OK, first
            _, media = await self.fetch(session, child_of(first), SPECTATOR)
            self._segment = child_of(media)

    async def keep_playing(self, part: Part) -> None:
        async with aiohttp.ClientSession() as session:
            while not self.is_over:
                await self.traffic.may_begin.wait()
                began_at = monotonic()
                self.traffic.under_way += 1
                outcome = await self.play(session, part)
                self.traffic.under_way -= 1
                took = monotonic() - began_at
                self.seen.append(Seen(part, outcome, began_at, took))
                await asyncio.sleep(max(PAUSE, took) if outcome == OK else PAUSE)

    async def play(self, session: aiohttp.ClientSession, part: Part) -> str:
        if part == "bytes":
            return (await self.fetch(session, self._segment, SPECTATOR))[0]
        viewer = next_viewer(self._viewers)
        outcome, body = await self.fetch(session, self.path_of(part), viewer)
        if part == "playlist" and outcome == OK:  # and on to its media playlist
            outcome, _ = await self.fetch(session, child_of(body), viewer)
        return outcome

    def path_of(self, part: Part) -> str:
        video = VIDEOS[part]
        return f"/play/{video}.m3u8?token={self.minting.mint(video=video).token}"

    async def fetch(
        self, session: aiohttp.ClientSession, path: str, viewer: str
    ) -> tuple[str, str]:
        """Return what a request came to, and its body."""
        url, headers = URL(self.edge + path, encoded=True), {"X-Forwarded-For": viewer}
        outcome = NOBODY
        try:
            async with (
                asyncio.timeout(PATIENCE),
                session.get(url, headers=headers, allow_redirects=False) as answer,
            ):
                outcome = CUT
                body = await answer.read()
                return answer.headers.get("X-Deny-Reason", OK), body.decode(errors="replace")
        except (aiohttp.ClientError, OSError):  # TimeoutError, too
            return outcome, ""

    async def see(self, count: int, is_meant: Callable[[Seen], bool]) -> None:
        """Wait until each kind has begun so many more plays that are as meant."""
        begun, since = len(self.seen), monotonic()

        def is_enough() -> bool:
            new = [it for it in self.seen[begun:] if it.began_at >= since and is_meant(it)]
            return all(sum(it.part == part for it in new) >= count for part in PARTS)

        try:
            await eventually(is_enough, MOST)
        except TimeoutError:
            seen = Counter((it.part, it.outcome) for it in self.seen[begun:])
            raise AssertionError(f"not enough in {MOST:.0f} s: {dict(seen)}") from None


def next_viewer(numbers: Iterator[int]) -> str:
    n = next(numbers)
    return f"8.{n // 62_500 % 200 + 10}.{n // 250 % 250}.{n % 250 + 1}"


@asynccontextmanager
async def players_at(
    edge: str, clock: Clock | None = None, traffic: Traffic | None = None
) -> AsyncIterator[Players]:
    """Have players play until the context is left."""
    minting = TokenMinter(load_settings(SANDBOX_TOML), clock or Clock())
    players = Players(edge, minting, traffic or Traffic())
    await players.begin()
    tasks = [asyncio.create_task(players.keep_playing(part)) for part in PARTS * EACH]
    try:
        yield players
    finally:
        players.is_over = True
        await asyncio.gather(*tasks)
