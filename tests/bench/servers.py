"""Servers on a core of their own, and what the kernel says they used of it."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import clock_gettime, monotonic, sleep

PATIENCE = 30.0  # seconds for a server to come up, or to come to rest
QUIET = 0.1  # seconds; less than a tenth of it is no work


@dataclass(frozen=True, slots=True)
class Server:
    """A server under test: where it listens, and whose CPU time is its own."""

    port: int
    pids: tuple[int, ...]

    def cpu(self) -> float:
        """Return the seconds of CPU that it has used, children that are there included."""
        return sum(cpu_of(pid) for pid in with_children(self.pids))


def settle(servers: Collection[Server]) -> None:
    """Wait until servers have done what they were asked: what one still does, the next one pays.

    A client that has left does not end what was begun for it: sixty-four playlists of 1,800
    segments are some seconds of work.
    """
    before = sum(server.cpu() for server in servers)
    until = monotonic() + PATIENCE
    while monotonic() < until:
        sleep(QUIET)
        now = sum(server.cpu() for server in servers)
        if now - before < QUIET / 10:
            return
        before = now
    raise SystemExit("the servers are busy with nothing to do")


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


NGINX = """
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 8192; }}
http {{
    {temporary}
    access_log {log};
    keepalive_requests 1000000000;
    types {{ application/vnd.apple.mpegurl m3u8; video/mp2t ts; }}
    server {{
        listen 127.0.0.1:{listen};
        {server}
    }}
}}
"""
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@contextmanager
def a_plain_nginx(
    program: str, folder: Path, core: int, port: int, server: str, *, tls: bool, log: str
) -> Iterator[Server]:
    """Run an nginx with one server, whose locations are given."""
    folder.mkdir(parents=True)
    conf = folder / "nginx.conf"
    conf.write_text(
        NGINX.format(
            user="user root;" if os.geteuid() == 0 else "",
            folder=folder,
            temporary=" ".join(f"{name}_temp_path {folder}/{name};" for name in TEMPORARY),
            listen=f"{port} ssl backlog=4096" if tls else port,
            server=server,
            log=log,
        )
    )
    command = [program, "-c", str(conf), "-p", str(folder), "-g", "daemon off;"]
    with started_on(core, port, *command, output=folder / "stderr") as running:
        yield running


def python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]
