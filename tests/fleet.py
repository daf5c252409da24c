"""Three edge processes on Unix sockets behind a real nginx, sharing a real Redis."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

import aiohttp
from nginx_server import Nginx, run_deployed_nginx
from processes import EdgeProcess, build_edge_environment
from redis_server import RedisServer
from support import OPERATOR_KEY, build_sandbox_minter, wait_until
from yarl import URL

from proxy.edge.token_minter import TokenMinter
from proxy.sandbox.state import Sandbox

INSTANCES = 3
PLAYERS = 6  # concurrent ones: enough to reach every edge, few enough for a slow machine


@dataclass(slots=True)
class Fleet:
    """The edges, nginx and Redis, with methods that play through them."""

    nginx: Nginx
    sandbox: Sandbox
    server: RedisServer
    edges: list[EdgeProcess]
    minter: TokenMinter
    sessions: dict[str, aiohttp.ClientSession] = field(default_factory=dict)

    def mint(self, **options: Any) -> str:
        return self.minter.mint(**{"video": "x8demo1", **options}).token

    def play_url(self, token: str | None = None, video: str = "x8demo1") -> str:
        return f"{self.nginx.origin}/play/{video}.m3u8?token={token or self.mint()}"

    async def play(self, token: str | None = None, source: str = "127.0.0.5") -> str | int:
        """Play through nginx; return the reason of a refusal, otherwise the status."""
        return await self.fetch_outcome(self.session(source), self.play_url(token))

    async def play_on(self, edge: EdgeProcess, token: str, viewer: str = "127.0.0.5") -> str | int:
        """Play on one edge without nginx; return the reason of a refusal, otherwise the status."""
        connector = aiohttp.UnixConnector(str(edge.player).removeprefix("unix:"))
        async with aiohttp.ClientSession(connector=connector) as session:
            url = f"http://edge/play/x8demo1.m3u8?token={token}"
            return await self.fetch_outcome(session, url, {"X-Forwarded-For": viewer})

    async def fetch_outcome(
        self, session, url: str, headers: dict[str, str] | None = None
    ) -> str | int:
        options = {"allow_redirects": False, "headers": headers}
        async with session.get(URL(url, encoded=True), **options) as response:
            await response.read()
            return response.headers.get("X-Deny-Reason") or response.status

    def session(self, source: str) -> aiohttp.ClientSession:
        if source not in self.sessions:
            connector = aiohttp.TCPConnector(local_addr=(source, 0), limit=0)
            self.sessions[source] = aiohttp.ClientSession(connector=connector)
        return self.sessions[source]

    async def request(self, edge: EdgeProcess, path: str, **options: Any) -> Any:
        """Send a request to an operator port; return its JSON, or the text of /metrics."""
        headers = {"Authorization": f"Bearer {OPERATOR_KEY}"}
        method, url = options.pop("method", "GET"), f"http://127.0.0.1:{edge.operator}{path}"
        async with self.session("127.0.0.1").request(
            method, url, headers=headers, **options
        ) as response:
            return await (response.text() if path == "/metrics" else response.json())

    async def is_ready(self, edge: EdgeProcess) -> bool:
        try:
            return (await self.request(edge, "/readyz"))["status"] == "ready"
        except aiohttp.ClientError:
            return False

    @asynccontextmanager
    async def run_load(self, players: int = PLAYERS) -> AsyncIterator["Load"]:
        """Keep `players` concurrent players playing, with a new token for each play."""
        load = Load()
        sources = itertools.cycle(f"127.0.{n}.5" for n in range(1, 101))
        tasks = [
            asyncio.create_task(load.keep_playing(self, next(sources))) for _ in range(players)
        ]
        try:
            yield load
        finally:
            load.is_over = True
            await asyncio.gather(*tasks)


@dataclass(slots=True)
class Load:
    """Players that play in a loop, with the outcomes and the slowest of their plays."""

    outcomes: Counter[str | int] = field(default_factory=Counter)
    slowest: float = 0.0  # seconds
    is_over: bool = False
    rounds: dict[str, int] = field(default_factory=dict)  # plays so far, by player address

    async def keep_playing(self, fleet: Fleet, source: str) -> None:
        while not self.is_over:
            started = monotonic()
            try:
                outcome = await fleet.play(source=source)
            except aiohttp.ClientError as error:
                outcome = type(error).__name__
            self.outcomes[outcome] += 1
            self.rounds[source] = self.rounds.get(source, 0) + 1
            self.slowest = max(self.slowest, monotonic() - started)

    async def wait_for_plays(self, plays: int = 100) -> None:
        """Wait until `plays` further plays have ended."""
        target = self.outcomes.total() + plays
        await wait_until(lambda: self.outcomes.total() >= target, seconds=60)

    async def wait_for_plays_in_flight(self) -> Counter[str | int]:
        """Wait until every play in flight has ended; return and reset the outcomes."""
        before = dict(self.rounds)
        await wait_until(
            lambda: all(self.rounds[player] > count for player, count in before.items()), seconds=60
        )
        return self.take_outcomes()

    def take_outcomes(self) -> Counter[str | int]:
        """Return the outcomes since the last call, and reset them."""
        outcomes, self.outcomes, self.slowest = self.outcomes, Counter(), 0.0
        return outcomes


@asynccontextmanager
async def run_fleet(
    program: str, folder: Path, sandbox: Sandbox, server: RedisServer, **env: str
) -> AsyncIterator[Fleet]:
    """Run the fleet; `env` adds environment variables to every edge."""
    edge_env = {
        **build_edge_environment(sandbox),
        "PLAYGATE_STATE__URL": server.url,
        "PLAYGATE_STATE__MAX_STALENESS": "1",
        "PLAYGATE_TOKENS__BIND_ON_FIRST_USE": "true",
        **env,
    }
    async with AsyncExitStack() as stack:
        # Not in the test's own folder: its path is too long for a Unix socket.
        sockets = stack.enter_context(TemporaryDirectory(prefix="playgate-"))
        edges = [EdgeProcess(edge_env, player=f"unix:{sockets}/{n}.sock") for n in range(INSTANCES)]
        for edge in edges:
            stack.push_async_callback(edge.close)
        await asyncio.gather(*(edge.start() for edge in edges))
        nginx = await stack.enter_async_context(
            run_deployed_nginx(
                program, folder, [edge.player for edge in edges], [edge.operator for edge in edges]
            )
        )
        minter = build_sandbox_minter()
        fleet = Fleet(nginx, sandbox, server, edges, minter)
        for edge in edges:
            await wait_until(lambda edge=edge: fleet.is_ready(edge))
        try:
            yield fleet
        finally:
            for session in fleet.sessions.values():
                await session.close()
