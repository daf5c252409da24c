"""Continuous traffic of an ordinary day: redirected, relayed, refused and failing plays."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urljoin

import aiohttp
from support import build_sandbox_minter
from yarl import URL

from proxy.adapters.clock import Clock
from proxy.edge.token_minter import TokenMinter

PLAYERS = 4
PAUSE_SECONDS = 0.05  # between two plays of one player, to leave CPU for everything else
RELAYED = "x8live1"
# Most of these twenty plays succeed; the others are refused, or fail at Dailymotion.
BAD_DAY = (*["x8demo1"] * 10, *[RELAYED] * 3, "x8tall1", "x8keys1", "x8null", "x8missing", "x8empty", "x8robot", "x8error")  # fmt: skip
GOOD_DAY = tuple(video for video in BAD_DAY if video not in {"x8empty", "x8robot", "x8error"})


@dataclass(slots=True)
class Traffic:
    """Players that play the videos of `day` through one edge, in a loop."""

    edge: str  # the player port's origin
    minter: TokenMinter
    day: tuple[str, ...] = GOOD_DAY
    token: str | None = None  # replaces the valid token of each play
    is_over: bool = False

    async def keep_playing(self, source: str, starting_at: int) -> None:
        connector = aiohttp.TCPConnector(local_addr=(source, 0))
        async with aiohttp.ClientSession(connector=connector) as session:
            for video in itertools.islice(itertools.cycle(self.day), starting_at, None):
                if self.is_over:
                    return
                # Two requests at the same time, as some players send them.
                await asyncio.gather(self.play(session, video), self.play(session, video))
                await asyncio.sleep(PAUSE_SECONDS)

    async def play(self, session: aiohttp.ClientSession, video: str) -> None:
        token = self.token or self.minter.mint(video=video).token
        status, body = await self.fetch(session, f"/play/{video}.m3u8?token={token}")
        if status == 200:  # relayed: fetch the media playlist and a segment
            playlist = find_first_path(body)
            _, media = await self.fetch(session, playlist)
            await self.fetch(session, find_first_path(media, playlist))

    async def fetch(self, session: aiohttp.ClientSession, path: str) -> tuple[int, str]:
        url = URL(f"{self.edge}{path}", encoded=True)
        try:
            async with session.get(url, allow_redirects=False) as response:
                return response.status, (await response.read()).decode(errors="replace")
        except (aiohttp.ClientError, OSError):  # the edge may be down
            return 0, ""


def find_first_path(playlist: str, path: str = "/") -> str:
    """Return the path that a player requests after the playlist at `path`."""
    lines = playlist.splitlines()
    uri = next((line for line in lines if line and not line.startswith("#")), "/play/none")
    return urljoin(path, uri)


@asynccontextmanager
async def run_traffic(
    edge: str,
    day: tuple[str, ...] = GOOD_DAY,
    *,
    token: str | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[Traffic]:
    """Keep players playing through an edge until the context is left."""
    minter = build_sandbox_minter(clock)
    traffic = Traffic(edge, minter, day, token)
    players = [
        asyncio.create_task(traffic.keep_playing(f"127.0.{n}.7", n * len(day) // PLAYERS))
        for n in range(PLAYERS)
    ]
    try:
        yield traffic
    finally:
        traffic.is_over = True
        await asyncio.gather(*players)
