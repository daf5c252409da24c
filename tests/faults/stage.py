"""Run an edge process whose clock, log, name resolution and upstream a test can break."""

import asyncio
import json
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from certificates import certify
from processes import EdgeProcess, build_edge_environment
from support import ROOT, run_test_sandbox, wait_until

from faults.players import PlayControl, Players, PlayKind, run_players
from faults.wire import Wire, run_wire
from proxy.adapters.dailymotion.cdn import READ_TIMEOUT_SECONDS
from proxy.sandbox.accounts import Accounts

ATTEMPT_SECONDS = 3.0  # timeout of one upstream request
PLAY_SECONDS = 6.0  # platform.play_timeout
SLOW_MACHINE_SECONDS = 6.0  # allowance for a busy machine
# A redirect resolves one URL. A relayed play also fetches two playlists, each with a second of
# retries. Bytes may stall for ten seconds before the edge cuts them off.
MAX_PLAY_SECONDS: dict[PlayKind, float] = {
    "redirect": PLAY_SECONDS + SLOW_MACHINE_SECONDS,
    "playlist": PLAY_SECONDS + 2 * (ATTEMPT_SECONDS + 1.0) + SLOW_MACHINE_SECONDS,
    "bytes": ATTEMPT_SECONDS + READ_TIMEOUT_SECONDS + 1.0,
}
TOKEN_TTL_SECONDS = 4  # short, so that the edge soon notices a broken token endpoint
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
RELAY_RULES = [{"videos": "x8(live|tall)1", "mode": "relay"}]
NAME_SERVER = "127.0.0.77"  # only silence_name_server listens on this address

# Runs a command whose /etc/hosts and /etc/resolv.conf are the test's, in its own mount namespace.
MOUNT_SCRIPT = """
mount --bind "$0" /etc/hosts && mount --bind "$1" /etc/resolv.conf && shift && exec "$@"
"""


@dataclass(frozen=True, slots=True)
class Resources:
    """The tasks, descriptors and memory of a process."""

    tasks: tuple[str, ...]
    descriptors: int
    resident: int  # bytes

    def is_within(self, other: "Resources") -> bool:
        """Return whether there are no more tasks and descriptors than in `other`."""
        return len(self.tasks) <= len(other.tasks) and self.descriptors <= other.descriptors


@dataclass(slots=True)
class Stage:
    """A running edge, the wire to its upstream, and the files that control its environment."""

    edge: EdgeProcess
    wire: Wire
    folder: Path
    play_control: PlayControl = field(default_factory=PlayControl)

    @property
    def pid(self) -> int:
        return self.edge.process.process.pid

    @property
    def hosts(self) -> Path:
        return self.folder / "hosts"

    @property
    def clock(self) -> Path:
        return self.folder / "clock"

    def run_players(self) -> AbstractAsyncContextManager[Players]:
        return run_players(f"http://127.0.0.1:{self.edge.player}", play_control=self.play_control)

    def list_descriptors(self) -> list[str]:
        return [entry.name for entry in Path(f"/proc/{self.pid}/fd").iterdir()]

    def read_resident_bytes(self) -> int:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE_BYTES

    async def send_order(self, order: str = "") -> list[str]:
        """Send an order to the debug socket; return the names of the edge's tasks."""
        reader, writer = await asyncio.open_unix_connection(str(self.folder / "debug.sock"))
        writer.write(f"{order}\n".encode())
        names = json.loads(await reader.read())
        writer.close()
        return names

    async def measure_without_idle(self) -> Resources:
        """Return the edge's resources after closing its idle upstream connections."""
        await self.wire.close_idle()
        return await self.measure()

    async def measure(self) -> Resources:
        """Return the edge's resources at the moment."""
        tasks = await self.send_order()
        return Resources(tuple(tasks), len(self.list_descriptors()), self.read_resident_bytes())

    async def wait_until_stable(self) -> Resources:
        """Wait until the edge's resources no longer change; return them."""
        previous = await self.measure_without_idle()
        async with asyncio.timeout(60):
            while True:
                await asyncio.sleep(0.3)
                now = await self.measure_without_idle()
                if now.is_within(previous) and previous.is_within(now):
                    return now
                previous = now

    async def wait_until_within(self, before: Resources) -> Resources:
        """Wait until the edge has no more tasks and descriptors than before.

        Raises:
            AssertionError: it still has more after 20 seconds.
        """
        measured: list[Resources] = []

        async def is_back() -> bool:
            measured.append(await self.measure_without_idle())
            return measured[-1].is_within(before)

        try:
            await wait_until(is_back)
        except TimeoutError:
            raise AssertionError(f"before: {before}, now: {measured[-1]}") from None
        return measured[-1]

    def read_errors(self, since: int = 0) -> list[str]:
        """Return the log lines of level error after the first `since` characters."""
        lines = self.edge.process.output[since:].splitlines()
        return [line for line in lines if '"level": "error"' in line]

    async def read_metric(self, name: str) -> float:
        """Return the sum of a metric over its series."""
        url = f"http://127.0.0.1:{self.edge.operator}/metrics"
        async with self.wire.session.get(url, headers={"Connection": "close"}) as response:
            lines = (await response.text()).splitlines()
        series = [line for line in lines if line.startswith((f"{name}{{", f"{name} "))]
        return sum(float(line.rpartition(" ")[2]) for line in series)


@asynccontextmanager
async def run_stage(folder: Path) -> AsyncIterator[Stage]:
    """Run the edge, its sandbox, and the wire between them."""
    authority, chain = certify(folder, "localhost")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(chain)
    (folder / "hosts").write_text("127.0.0.1 localhost\n")
    (folder / "resolv.conf").write_text(f"nameserver {NAME_SERVER}\n")
    (folder / "clock").write_text("+0\n")
    sandbox = run_test_sandbox(accounts=Accounts(access_token_ttl=TOKEN_TTL_SECONDS))
    async with sandbox as dailymotion, run_wire(dailymotion.origin, tls) as wire:
        dailymotion.origin = f"https://{wire.host}"
        env = {
            **build_edge_environment(dailymotion),
            **build_settings(),
            "SSL_CERT_FILE": str(authority),
            **build_clock_environment(folder / "clock"),
        }
        edge = EdgeProcess(env, build_command(folder))
        async with edge.stack:
            await edge.start()
            yield Stage(edge, wire, folder)


def build_settings() -> dict[str, str]:
    return {
        "PYTHONPATH": str(ROOT / "tests"),
        "PLAYGATE_VIEWER__TRUSTED_PROXIES": '["127.0.0.1"]',
        "PLAYGATE_PLATFORM__PLAY_TIMEOUT": str(PLAY_SECONDS),
        "PLAYGATE_DELIVERY__RULES": json.dumps(RELAY_RULES),
    }


def build_clock_environment(file: Path) -> dict[str, str]:
    """Return environment variables that make a process read its clock offset from a file."""
    library = find_libfaketime()
    assert library is not None, find_missing_requirement()
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_CACHE_DURATION": "1",  # seconds
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def find_libfaketime() -> Path | None:
    return next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


def build_command(folder: Path) -> list[str | Path]:
    """Return the command that runs Playgate with the test's hosts and resolv.conf."""
    mount = ["sh", "-c", MOUNT_SCRIPT, folder / "hosts", folder / "resolv.conf"]
    edge = [sys.executable, "-m", "faults.edge_debug", folder / "debug.sock"]
    return [*build_unshare_command(), *mount, *edge]


def build_unshare_command() -> list[str]:
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    return ["unshare", *as_root, "--mount"]


def find_missing_requirement() -> str:
    """Return what this machine lacks for a stage, or an empty string."""
    if find_libfaketime() is None:
        return "libfaketime is not installed"
    try:
        subprocess.run([*build_unshare_command(), "true"], check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return "this process may not create a mount namespace; containers often forbid it"
    return ""
