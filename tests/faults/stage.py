"""An edge as a process of its own, players at it, and all around it a world that can be broken."""

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
from processes import EdgeProcess, in_front_of
from support import ROOT, a_sandbox, eventually

from faults.players import Part, Players, Traffic, players_at
from faults.wire import Wire, a_wire
from proxy.adapters.dailymotion.cdn import READ_TIMEOUT_SECONDS
from proxy.sandbox.accounts import Accounts

ATTEMPT, PLAY = 3.0, 6.0  # seconds: of one request, and platform.play_timeout
BUSY = 6.0  # seconds that a machine may do something else as well
# What a play may take: its URL; two playlists behind that, with a second of retries each; bytes that
# stop, with ten seconds of silence.
BUDGETS: dict[Part, float] = {
    "redirect": PLAY + BUSY,
    "playlist": PLAY + 2 * (ATTEMPT + 1.0) + BUSY,
    "bytes": ATTEMPT + READ_TIMEOUT_SECONDS + 1.0,
}
TOKEN_TTL = 4  # seconds: a token endpoint that is broken is soon noticed
PAGE = os.sysconf("SC_PAGE_SIZE")
RELAYED = [{"videos": "x8(live|tall)1", "mode": "relay"}]
NAME_SERVER = "127.0.0.77"  # where nobody listens, mostly

# In a mount namespace of its own, where names are what a test says.
NAMES = """
mount --bind "$0" /etc/hosts && mount --bind "$1" /etc/resolv.conf && shift && exec "$@"
"""


@dataclass(frozen=True, slots=True)
class Held:
    """What a process holds."""

    tasks: tuple[str, ...]
    descriptors: int
    resident: int  # bytes

    def is_within(self, other: "Held") -> bool:
        return len(self.tasks) <= len(other.tasks) and self.descriptors <= other.descriptors


@dataclass(slots=True)
class Stage:
    edge: EdgeProcess
    wire: Wire
    folder: Path
    traffic: Traffic = field(default_factory=Traffic)

    @property
    def pid(self) -> int:
        return self.edge.process.process.pid

    @property
    def hosts(self) -> Path:
        return self.folder / "hosts"

    @property
    def clock(self) -> Path:
        return self.folder / "clock"

    def players(self) -> AbstractAsyncContextManager[Players]:
        return players_at(f"http://127.0.0.1:{self.edge.player}", traffic=self.traffic)

    def descriptors(self) -> list[str]:
        return [it.name for it in Path(f"/proc/{self.pid}/fd").iterdir()]

    def resident(self) -> int:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE

    async def tell(self, order: str = "") -> list[str]:
        """Give an order; return the names of the edge's tasks."""
        reader, writer = await asyncio.open_unix_connection(str(self.folder / "watched"))
        writer.write(f"{order}\n".encode())
        names = json.loads(await reader.read())
        writer.close()
        return names

    async def held(self) -> Held:
        """Return what the edge holds, connections that only wait to be used again aside."""
        await self.wire.hang_up()
        return await self.look()

    async def look(self) -> Held:
        """Return what the edge holds at the moment."""
        tasks = await self.tell()
        return Held(tuple(tasks), len(self.descriptors()), self.resident())

    async def rested(self) -> Held:
        """Return what the edge holds when nobody has asked it anything for a while."""
        held = await self.held()
        async with asyncio.timeout(60):
            while True:
                await asyncio.sleep(0.3)
                if (now := await self.held()).is_within(held) and held.is_within(now):
                    return now
                held = now

    async def comes_back_to(self, before: Held) -> Held:
        """Wait until the edge holds no more than before."""
        now: list[Held] = []

        async def is_back() -> bool:
            now.append(await self.held())
            return now[-1].is_within(before)

        try:
            await eventually(is_back)
        except TimeoutError:
            raise AssertionError(f"before: {before}, now: {now[-1]}") from None
        return now[-1]

    def errors(self, since: int = 0) -> list[str]:
        """Return what the log says of bugs and of libraries, from so many characters on."""
        lines = self.edge.process.output[since:].splitlines()
        return [line for line in lines if '"level": "error"' in line]

    async def metric(self, name: str) -> float:
        """Return a metric's sum over its series."""
        url = f"http://127.0.0.1:{self.edge.operator}/metrics"
        async with self.wire.session.get(url, headers={"Connection": "close"}) as answer:
            lines = (await answer.text()).splitlines()
        found = [line for line in lines if line.startswith((f"{name}{{", f"{name} "))]
        return sum(float(line.rpartition(" ")[2]) for line in found)


@asynccontextmanager
async def staged(folder: Path) -> AsyncIterator[Stage]:
    """Run all of it."""
    authority, chain = certify(folder, "localhost")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(chain)
    (folder / "hosts").write_text("127.0.0.1 localhost\n")
    (folder / "resolv.conf").write_text(f"nameserver {NAME_SERVER}\n")
    (folder / "clock").write_text("+0\n")
    sandbox = a_sandbox(accounts=Accounts(access_token_ttl=TOKEN_TTL))
    async with sandbox as dailymotion, a_wire(dailymotion.origin, tls) as wire:
        dailymotion.origin = f"https://{wire.host}"
        env = {
            **in_front_of(dailymotion),
            **settings(),
            "SSL_CERT_FILE": str(authority),
            **fake_clock(folder / "clock"),
        }
        edge = EdgeProcess(env, program(folder))
        async with edge.stack:
            await edge.start()
            yield Stage(edge, wire, folder)


def settings() -> dict[str, str]:
    return {
        "PYTHONPATH": str(ROOT / "tests"),
        "PLAYGATE_VIEWER__TRUSTED_PROXIES": '["127.0.0.1"]',
        "PLAYGATE_PLATFORM__PLAY_TIMEOUT": str(PLAY),
        "PLAYGATE_DELIVERY__RULES": json.dumps(RELAYED),
    }


def fake_clock(file: Path) -> dict[str, str]:
    """Return what has a process take the offset of its clock from a file."""
    library = libfaketime()
    assert library is not None, what_is_missing()
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_CACHE_DURATION": "1",  # seconds
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def libfaketime() -> Path | None:
    return next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


def program(folder: Path) -> list[str | Path]:
    names = ["sh", "-c", NAMES, folder / "hosts", folder / "resolv.conf"]
    watched = [sys.executable, "-m", "faults.edge_debug", folder / "watched"]
    return [*unshared(), *names, *watched]


def unshared() -> list[str]:
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    return ["unshare", *as_root, "--mount"]


def what_is_missing() -> str:
    """Say what this machine lacks for a stage; nothing, if it has it all."""
    if libfaketime() is None:
        return "libfaketime is not installed"
    try:
        subprocess.run([*unshared(), "true"], check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        return "a mount namespace may not be made here; in a container one often may not"
    return ""
