"""Run servers on a core of their own, and read their CPU time from the kernel."""

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

MAX_WAIT_SECONDS = 30.0  # for a server to start, or to become idle
IDLE_WINDOW_SECONDS = 0.1  # idle: less than a tenth of this window is CPU time


@dataclass(frozen=True, slots=True)
class Server:
    """A server under test: its port, and the processes whose CPU time counts."""

    port: int
    pids: tuple[int, ...]

    def read_cpu_seconds(self) -> float:
        """Return the CPU seconds used so far, including those of running child processes."""
        return sum(read_cpu_seconds(pid) for pid in iterate_processes(self.pids))


def wait_until_idle(servers: Collection[Server]) -> None:
    """Wait until the servers have finished the previous load, or the next one would pay for it.

    A server finishes a request although its client has disconnected: sixty-four playlists of
    1,800 segments take some seconds.
    """
    before = sum(server.read_cpu_seconds() for server in servers)
    deadline = monotonic() + MAX_WAIT_SECONDS
    while monotonic() < deadline:
        sleep(IDLE_WINDOW_SECONDS)
        now = sum(server.read_cpu_seconds() for server in servers)
        if now - before < IDLE_WINDOW_SECONDS / 10:
            return
        before = now
    raise SystemExit(f"the servers still use CPU {MAX_WAIT_SECONDS:g} s after the last load")


def read_cpu_seconds(pid: int) -> float:
    """Return a process's CPU time, to the nanosecond; see clock_getcpuclockid(3)."""
    return clock_gettime((~pid << 3) | 2)


def iterate_processes(pids: tuple[int, ...]) -> Iterator[int]:
    """Yield the IDs of processes and of their children."""
    for pid in pids:
        yield pid
        yield from map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


@contextmanager
def run_on_core(
    core: int,
    port: int,
    *command: str | Path,
    env: Mapping[str, str] | None = None,
    output: Path | None = None,
) -> Iterator[Server]:
    """Run a command on one core, wait until it listens on its port, and stop it at the end."""
    with (output or Path(os.devnull)).open("wb") as out:
        process = subprocess.Popen(
            ["taskset", "--cpu-list", str(core), *command],
            env={**os.environ, **(env or {})},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for_port(process, port)
        yield Server(port, (process.pid,))
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for_port(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until a process listens on its port; exit if it ends before, or takes too long."""
    deadline = monotonic() + MAX_WAIT_SECONDS
    while monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"{process.args} ended with exit code {process.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        sleep(0.005)
    raise SystemExit(f"{process.args} does not listen on port {port} after {MAX_WAIT_SECONDS:g} s")


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
TEMPORARY_PATHS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@contextmanager
def run_nginx(
    program: str, folder: Path, core: int, port: int, server: str, *, tls: bool, log: str
) -> Iterator[Server]:
    """Run an nginx whose only `server` block contains the directives `server`."""
    folder.mkdir(parents=True)
    conf = folder / "nginx.conf"
    conf.write_text(
        NGINX.format(
            user="user root;" if os.geteuid() == 0 else "",
            folder=folder,
            temporary=" ".join(f"{name}_temp_path {folder}/{name};" for name in TEMPORARY_PATHS),
            listen=f"{port} ssl backlog=4096" if tls else port,
            server=server,
            log=log,
        )
    )
    command = [program, "-c", str(conf), "-p", str(folder), "-g", "daemon off;"]
    with run_on_core(core, port, *command, output=folder / "stderr") as running:
        yield running


def build_python_command(*arguments: str) -> list[str]:
    """Return the command that runs this Python with arguments."""
    return [sys.executable, *arguments]
