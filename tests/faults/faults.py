"""All faults: of the wire, of the machine, and what each kind of player then gets to see."""

import asyncio
import resource
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from faults.broken_exchanges import BREAKS, CUT, OK, TIMEOUT, UNREACHABLE, WELCOMES, Break, Welcome
from faults.players import NOBODY, PARTS, Part
from faults.stage import NAME_SERVER, Stage
from faults.wire import KINDS, Kind

# Who needs what: the others are not to notice.
NEEDED_BY: dict[Kind, tuple[Part, ...]] = {
    "token": ("redirect", "playlist"),
    "video": ("redirect", "playlist"),
    "playlist": ("playlist",),
    "bytes": ("bytes",),
}
HOUR = 3600  # seconds
NAMES_KEPT = 10.0  # seconds, by aiohttp
NAME_SERVER_WAIT = 10.0  # seconds: two tries of the resolver's
FEWER_THAN_NONE = 8  # descriptors; without any connection an edge has more


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault that lasts as long as its context, and the outcomes that are right meanwhile."""

    name: str
    begun: Callable[[Stage], AbstractAsyncContextManager[None]]
    outcomes: Mapping[Part, frozenset[str]]
    # Outcomes that may come on the way there and back: an answer amid the change.
    aside: frozenset[str] = frozenset()
    # In seconds: how long it has to be there, and how long what it did is felt: failed fetches are
    # remembered, and who waits for an attempt waits on.
    lasts: float = 1.0
    felt: float = 6.0

    def is_right(self, part: Part, outcome: str) -> bool:
        """Say whether this is what the fault does."""
        return outcome in self.outcomes.get(part, {OK})

    def is_possible(self, part: Part, outcome: str) -> bool:
        """Say whether nothing but the fault is needed to explain it."""
        return outcome == OK or outcome in self.aside or self.is_right(part, outcome)


def for_all(*outcomes: str) -> dict[Part, frozenset[str]]:
    return dict.fromkeys(PARTS, frozenset(outcomes))


@asynccontextmanager
async def broken(kind: Kind, how: Break, stage: Stage) -> AsyncIterator[None]:
    stage.wire.exchanges[kind] = how.exchange
    try:
        yield
    finally:
        del stage.wire.exchanges[kind]


@asynccontextmanager
async def welcomed(welcome: Welcome, stage: Stage) -> AsyncIterator[None]:
    stage.wire.greeting = welcome.greeting
    await stage.wire.hang_up_all()
    try:
        yield
    finally:
        stage.wire.greeting = None
        await stage.wire.hang_up_all()


@asynccontextmanager
async def refused(stage: Stage) -> AsyncIterator[None]:
    await stage.wire.stop_listening()
    await stage.wire.hang_up_all()
    try:
        yield
    finally:
        stage.wire.listen()


@asynccontextmanager
async def nameless(stage: Stage) -> AsyncIterator[None]:
    """Have no name be found; what was looked up before is known for ten more seconds."""

    async def keep_hanging_up() -> None:
        while True:
            await stage.wire.hang_up_all()
            await asyncio.sleep(0.3)

    known = stage.hosts.read_text()
    stage.hosts.write_text("")
    hanging_up = asyncio.create_task(keep_hanging_up())
    try:
        yield
    finally:
        hanging_up.cancel()
        stage.hosts.write_text(known)


@asynccontextmanager
async def silent_name_server(stage: Stage) -> AsyncIterator[None]:
    with socket.socket(type=socket.SOCK_DGRAM) as silent:
        silent.bind((NAME_SERVER, 53))
        async with nameless(stage):
            yield


@asynccontextmanager
async def clock_off_by(seconds: int, stage: Stage) -> AsyncIterator[None]:
    stage.clock.write_text(f"{seconds:+}s\n")
    try:
        yield
    finally:
        stage.clock.write_text("+0\n")


@asynccontextmanager
async def full_disk(stage: Stage) -> AsyncIterator[None]:
    """Have log lines go where there is no space left on the device."""
    lost = await stage.metric("playgate_log_lines_lost_total")
    await stage.tell("fill")
    try:
        yield
        assert await stage.metric("playgate_log_lines_lost_total") > lost
    finally:
        await stage.tell("mend")


@asynccontextmanager
async def no_descriptors(stage: Stage) -> AsyncIterator[None]:
    """Leave the edge no file descriptor for another connection, and bring some.

    Between plays: a player whose connection breaks cannot come back as long as this lasts.
    """
    soft, hard = resource.prlimit(stage.pid, resource.RLIMIT_NOFILE)
    async with stage.traffic.stopped():
        resource.prlimit(stage.pid, resource.RLIMIT_NOFILE, (FEWER_THAN_NONE, hard))
        await stage.wire.hang_up_all()
    with ExitStack() as stack:
        for _ in range(20):
            more = stack.enter_context(socket.socket())
            more.connect(("127.0.0.1", stage.edge.player))
        try:
            yield
        finally:
            resource.prlimit(stage.pid, resource.RLIMIT_NOFILE, (soft, hard))


FAULTS = (
    *(
        Fault(
            f"{kind}: {it.name}",
            partial(broken, kind, it),
            dict.fromkeys(NEEDED_BY[kind], frozenset(it.outcomes[kind])),
            frozenset(it.aside),
        )
        for it in BREAKS
        for kind in KINDS
        if kind in it.outcomes
    ),
    *(
        Fault(f"connection: {it.name}", partial(welcomed, it), for_all(it.outcome), frozenset({UNREACHABLE, CUT}))
        for it in WELCOMES
    ),
    Fault("connection: refused", refused, for_all(UNREACHABLE), frozenset({CUT})),
    Fault("name: not found", nameless, for_all(UNREACHABLE), frozenset({CUT}), lasts=NAMES_KEPT + 2),
    Fault("name: a silent server", silent_name_server, for_all(TIMEOUT), frozenset({CUT, UNREACHABLE}), lasts=NAMES_KEPT + 2, felt=NAME_SERVER_WAIT + 4),
    Fault("clock: an hour ahead", partial(clock_off_by, HOUR), {"redirect": frozenset({"token-expired"}), "playlist": frozenset({"token-expired"})}),
    Fault("clock: an hour behind", partial(clock_off_by, -HOUR), {"redirect": frozenset({"token-not-yet-valid"}), "playlist": frozenset({"token-not-yet-valid", "seal-invalid"}), "bytes": frozenset({"seal-invalid"})}),
    Fault("logs: a full disk", full_disk, {}),
    Fault("descriptors: none left", no_descriptors, for_all("overloaded"), frozenset({CUT, NOBODY, UNREACHABLE})),
)  # fmt: skip
