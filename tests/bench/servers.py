"""Servers on a core of their own, and what the kernel says they used of it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import clock_gettime, monotonic, sleep

PATIENCE = 30.0  # seconds for a server to come up


@dataclass(frozen=True, slots=True)
class Server:
    """A server under test: where it listens, and whose CPU time is its own."""

    port: int
    pids: tuple[int, ...]

    def cpu(self) -> float:
        """Return the seconds of CPU that it has used, children that are there included."""
        return sum(cpu_of(pid) for pid in with_children(self.pids))


def cpu_of(pid: int) -> float:
    """Return a process's CPU time from the kernel: clock_getcpuclockid(3), to the nanosecond."""
    return clock_gettime((~pid << 3) | 2)


def with_children(pids: tuple[int, ...]) -> Iterator[int]:
    for pid in pids:
        yield pid
        yield from map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


@contextmanager
def started_on(
    core: int,
    port: int,
    *command: str | Path,
    env: Mapping[str, str] | None = None,
    output: Path | None = None,
) -> Iterator[Server]:
    """Start a command on one core, wait until it listens on its port, and end it."""
    with (output or Path(os.devnull)).open("wb") as out:
        process = subprocess.Popen(
            ["taskset", "--cpu-list", str(core), *command],
            env={**os.environ, **(env or {})},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(process, port)
        yield Server(port, (process.pid,))
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    until = monotonic() + PATIENCE
    while monotonic() < until:
        if process.poll() is not None:
            raise SystemExit(f"{process.args} ended with {process.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        sleep(0.005)
    raise SystemExit(f"{process.args} did not come up")


def python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]
