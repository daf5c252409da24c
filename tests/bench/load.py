"""Send load with wrk; measure throughput, the server's CPU time per request, and latency."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from bench.servers import Server

SCRIPT = Path(__file__).with_name("load.lua")


class LoadFailed(Exception):
    """Some requests failed, so the figures of this run are meaningless."""


@dataclass(slots=True)
class Requests:
    """Requests in a file; each run continues where the previous one ended."""

    path: Path
    count: int
    position: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The figures of one run."""

    throughput: float  # requests per second
    cpu: float  # CPU seconds of the server per request
    p50: float  # microseconds
    p99: float  # microseconds


def write_requests(path: Path, texts: Sequence[str]) -> Requests:
    """Write requests, each without its final empty line, to a file."""
    path.write_bytes(b"\0".join(f"{text}\r\n\r\n".encode() for text in texts))
    return Requests(path, len(texts))


def run_load(
    server: Server,
    requests: Requests,
    *,
    core: int,
    connections: int,
    seconds: int,
    period: float = 0,
) -> Run:
    """Send requests for `seconds`; return the figures.

    Each connection sends one request every `period` seconds, and at least three requests; without
    a period, it sends the next request after each response.

    If a slow machine completes no request in that time, the load runs again for ten times as long.

    Raises:
        LoadFailed: a request failed, or none completed.
    """
    seconds = max(seconds, ceil(3 * period))
    run = _run_wrk(seconds, server, requests, core, connections, period)
    run = run or _run_wrk(seconds * 10, server, requests, core, connections, period)
    if run is None:
        raise LoadFailed(f"{requests.path.name} at port {server.port}: no response")
    return run


def _run_wrk(
    seconds: int,
    server: Server,
    requests: Requests,
    core: int,
    connections: int,
    period: float,
) -> Run | None:
    before = server.read_cpu_seconds()
    command = [
        *("taskset", "--cpu-list", str(core), "wrk", "--threads", "1", "--latency"),
        *("--connections", str(connections), "--duration", f"{seconds}s", "--timeout", "10s"),
        *("--script", str(SCRIPT), f"http://127.0.0.1:{server.port}"),
        *("--", str(requests.path), str(requests.position)),
        *(str(round(period * 1000)), str(connections)),
    ]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    cpu_seconds = server.read_cpu_seconds() - before
    summary = json.loads(output.splitlines()[-1])
    if summary["errors"]:
        raise LoadFailed(f"{requests.path.name} at port {server.port}: {output}")
    if not summary["requests"]:
        return None
    requests.position += summary["requests"] + connections
    return Run(
        throughput=summary["requests"] / summary["microseconds"] * 1e6,
        cpu=cpu_seconds / summary["requests"],
        p50=summary["p50"],
        p99=summary["p99"],
    )
