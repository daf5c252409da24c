"""Load by wrk: how much got through, what it cost the server, how long it took."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.servers import Server

SCRIPT = Path(__file__).with_name("load.lua")


class LoadFailed(Exception):
    """Some requests were not answered as they should be, and so the figures mean nothing."""


@dataclass(slots=True)
class Requests:
    """Requests in a file, sent one after the other, from where the last run ended."""

    path: Path
    count: int
    at: int = field(default=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What came of one run."""

    throughput: float  # requests a second
    cpu: float  # seconds of CPU of the server for each
    p50: float  # microseconds
    p99: float


def write_requests(path: Path, heads: Sequence[str]) -> Requests:
    """Write requests (without the last line's end) to a file."""
    path.write_bytes(b"\0".join(f"{head}\r\n\r\n".encode() for head in heads))
    return Requests(path, len(heads))


def load(server: Server, requests: Requests, *, core: int, connections: int, seconds: int) -> Run:
    """Send requests for so many seconds, or fail if any is not answered well.

    If a slow machine answers none in that time, they are sent once more for ten times as long.
    """
    run = _load_for(seconds, server, requests, core, connections)
    run = run or _load_for(seconds * 10, server, requests, core, connections)
    if run is None:
        raise LoadFailed(f"{requests.path.name} at port {server.port}: no answer")
    return run


def _load_for(
    seconds: int, server: Server, requests: Requests, core: int, connections: int
) -> Run | None:
    before = server.cpu()
    command = [
        *("taskset", "--cpu-list", str(core), "wrk", "--threads", "1", "--latency"),
        *("--connections", str(connections), "--duration", f"{seconds}s", "--timeout", "10s"),
        *("--script", str(SCRIPT), f"http://127.0.0.1:{server.port}"),
        *("--", str(requests.path), str(requests.at)),
    ]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    used = server.cpu() - before
    found = json.loads(output.splitlines()[-1])
    if found["errors"]:
        raise LoadFailed(f"{requests.path.name} at port {server.port}: {output}")
    if not found["requests"]:
        return None
    requests.at += found["requests"] + connections
    return Run(
        throughput=found["requests"] / found["microseconds"] * 1e6,
        cpu=used / found["requests"],
        p50=found["p50"],
        p99=found["p99"],
    )
