"""Run an edge with ordinary traffic, its sandbox and Redis, and a real Prometheus."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from processes import EdgeProcess, build_edge_environment
from prometheus_server import Prometheus, run_prometheus
from redis_server import run_redis
from support import run_test_sandbox
from traffic import RELAYED, run_traffic

from proxy.sandbox.state import Sandbox


@dataclass(slots=True)
class Monitored:
    """An edge under traffic, and the Prometheus that scrapes it."""

    edge: EdgeProcess
    sandbox: Sandbox
    prometheus: Prometheus

    async def metrics(self) -> str:
        url = f"http://127.0.0.1:{self.edge.operator}/metrics"
        async with self.prometheus.session.get(url) as response:
            return await response.text()


def build_environment(sandbox: Sandbox, state_url: str) -> dict[str, str]:
    """Return the environment of an edge that uses every feature with metrics of its own."""
    return {
        **build_edge_environment(sandbox),
        "PLAYGATE_STATE__URL": state_url,
        "PLAYGATE_TOKENS__BIND_ON_FIRST_USE": "true",
        "PLAYGATE_DELIVERY__MODE": "validate",
        "PLAYGATE_DELIVERY__RULES": json.dumps([{"videos": RELAYED, "mode": "relay"}]),
    }


@asynccontextmanager
async def run_monitored_edge(
    program: Callable[[str], str], folder: Path, *, in_haste: bool, day: tuple[str, ...]
) -> AsyncIterator[Monitored]:
    """Run the edge, its traffic and Prometheus; `program` returns the path of an executable."""
    async with run_test_sandbox() as sandbox, run_redis(program("redis-server"), folder) as server:
        edge = EdgeProcess(build_environment(sandbox, server.url))
        async with edge.stack:
            await edge.start()
            targets = {"playgate": [f"127.0.0.1:{edge.operator}"]}
            async with (
                run_traffic(f"http://127.0.0.1:{edge.player}", day),
                run_prometheus(
                    program("prometheus"), folder, targets, in_haste=in_haste
                ) as prometheus,
            ):
                yield Monitored(edge, sandbox, prometheus)
