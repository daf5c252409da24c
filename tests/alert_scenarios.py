"""Edges that are each broken in one way, and a real Prometheus that scrapes systems."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from processes import EdgeProcess, build_edge_environment
from prometheus_server import Prometheus, run_prometheus
from redis_server import RedisServer, run_redis
from support import (
    PLAYLIST_HEADERS,
    SANDBOX_TOML,
    RunningEdge,
    build_settings_for,
    run_reloading_edge,
    run_test_edge,
    run_test_sandbox,
)
from traffic import Traffic, run_traffic

from proxy.adapters.clock import Clock
from proxy.edge import playable_cache
from proxy.sandbox.accounts import Accounts
from proxy.sandbox.controls import CALL_KINDS, Fault
from proxy.sandbox.state import Sandbox

PLAYABLE = ("x8demo1", "x8tall1")  # videos
TEN_HOURS_SECONDS = 36_000
TRUNCATED_PLAYLIST = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=800000\n"
SLOW_SECONDS = 1.3  # above the objective, below half of platform.play_timeout
AHEAD_SECONDS = 20.0


class FastClock(Clock):
    """A clock that runs ahead, as on a machine without NTP."""

    def now(self) -> float:
        return super().now() + AHEAD_SECONDS


@dataclass(slots=True)
class Systems:
    """Edges by the name of their Prometheus job, each with its own sandbox and players."""

    program: Callable[[str], str]
    folder: Path
    token_ttl: int  # lifetime in seconds of the access tokens of `playgate-token`
    stack: AsyncExitStack
    edges: dict[str, RunningEdge] = field(default_factory=dict)
    players: dict[str, Traffic] = field(default_factory=dict)
    sandboxes: dict[str, Sandbox] = field(default_factory=dict)
    killed: EdgeProcess | None = None
    redis: RedisServer | None = None
    forger: Traffic | None = None

    @property
    def settings(self) -> Path:
        """The settings file of `playgate-reload`."""
        return self.folder / "playgate.toml"

    @property
    def jobs(self) -> dict[str, list[str]]:
        assert self.killed is not None
        jobs = {job: [str(edge.edge.operator)] for job, edge in self.edges.items()}
        return {**jobs, "playgate-killed": [f"127.0.0.1:{self.killed.operator}"]}

    async def start(self) -> None:
        """Start Redis, all edges and their players."""
        self.redis = await self.stack.enter_async_context(
            run_redis(self.program("redis-server"), self.folder)
        )
        validate = {"mode": "validate"}
        issuer = {"issuer": "https://login.example.com", "jwks_url": "http://127.0.0.1:1/none"}
        self.stack.callback(
            setattr, playable_cache, "VERDICT_TTL_SECONDS", playable_cache.VERDICT_TTL_SECONDS
        )
        # Otherwise a cached verdict would hide the bot challenge of `playgate-robot` for too long.
        playable_cache.VERDICT_TTL_SECONDS = 1.0
        await self.add("playgate-well")
        await self.add("playgate-front")
        await self.add("playgate-token", token_ttl=self.token_ttl)
        await self.add("playgate-slow")
        await self.add("playgate-garbage", delivery=validate)
        await self.add("playgate-robot", delivery=validate)
        await self.add("playgate-refusals")
        await self.add("playgate-state", state={"url": self.redis.url, "max_staleness": 1})
        await self.add("playgate-clock", clock=FastClock())
        await self.add("playgate-issuer", tokens={"issuers": [issuer]})
        self.killed = await self.start_process()
        self.settings.write_text(SANDBOX_TOML.read_text())
        load = partial(build_settings_for, self.sandboxes["playgate-well"], config=self.settings)
        self.edges["playgate-reload"] = await self.stack.enter_async_context(
            run_reloading_edge(load, self.settings)
        )

    async def add(self, job: str, *, token_ttl: int = TEN_HOURS_SECONDS, **options: Any) -> None:
        accounts = Accounts(access_token_ttl=token_ttl)
        sandbox = await self.stack.enter_async_context(run_test_sandbox(accounts=accounts))
        edge = await self.stack.enter_async_context(run_test_edge(sandbox, **options))
        self.sandboxes[job], self.edges[job] = sandbox, edge
        self.players[job] = await self.play(edge, clock=options.get("clock"))

    async def play(self, edge: RunningEdge, **options: Any) -> Traffic:
        return await self.stack.enter_async_context(run_traffic(edge.player, PLAYABLE, **options))

    async def start_process(self) -> EdgeProcess:
        edge = EdgeProcess(build_edge_environment(self.sandboxes["playgate-well"]))
        self.stack.push_async_callback(edge.close)
        await edge.start()
        return edge

    async def break_all(self) -> None:
        """Inject a different fault into each edge that has none yet, except `playgate-well`."""
        faults = {
            "playgate-token": ("token", Fault(status=503)),
            "playgate-slow": ("video", Fault(delay=SLOW_SECONDS)),
            "playgate-garbage": ("playlist", Fault(status=200, body=TRUNCATED_PLAYLIST, headers=PLAYLIST_HEADERS)),
            "playgate-robot": ("playlist", Fault(status=200, body="<html>Are you human?")),
        }  # fmt: skip
        for job, (kind, fault) in faults.items():
            self.sandboxes[job].controls.set_fault(kind, fault)
        assert self.redis is not None and self.killed is not None
        self.settings.write_text("sandbox = true\n[wiever]\n")
        await self.redis.stop()
        await self.killed.kill()
        self.forger = await self.play(self.edges["playgate-refusals"], token="forged")
        self.players["playgate-front"].is_over = True  # no request reaches the edge any more

    async def repair_all(self) -> None:
        """Repair whatever can be repaired while the edges run."""
        for sandbox in self.sandboxes.values():
            for kind in CALL_KINDS:
                sandbox.controls.set_fault(kind, None)
        assert self.redis is not None and self.killed is not None and self.forger is not None
        self.forger.is_over = True
        await self.play(self.edges["playgate-front"])
        self.settings.write_text(SANDBOX_TOML.read_text())
        await self.redis.start()
        await self.killed.start()


@asynccontextmanager
async def run_systems(
    program: Callable[[str], str], folder: Path, *, in_haste: bool, token_ttl: int
) -> AsyncIterator[tuple[Systems, Prometheus]]:
    """Run all edges, and a Prometheus that scrapes them; two of the edges have a fault already."""
    async with AsyncExitStack() as stack:
        running = Systems(program, folder, token_ttl, stack)
        await running.start()
        prometheus = await stack.enter_async_context(
            run_prometheus(program("prometheus"), folder, running.jobs, in_haste=in_haste)
        )
        yield running, prometheus
