"""All faults of the upstream and of the machine, with the outcomes that players then see."""

import asyncio
import resource
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from faults.broken_exchanges import (
    BROKEN_EXCHANGES,
    BROKEN_HANDSHAKES,
    CUT,
    OK,
    TIMEOUT,
    UNREACHABLE,
    BrokenExchange,
    BrokenHandshake,
)
from faults.players import NO_RESPONSE, PLAY_KINDS, PlayKind
from faults.stage import NAME_SERVER, Stage
from faults.wire import CALL_KINDS, CallKind

# The plays that each kind of call affects; all other plays must succeed.
AFFECTED_PLAYS: dict[CallKind, tuple[PlayKind, ...]] = {
    "token": ("redirect", "playlist"),
    "video": ("redirect", "playlist"),
    "playlist": ("playlist",),
    "bytes": ("bytes",),
}
HOUR_SECONDS = 3600
DNS_CACHE_SECONDS = 10.0  # aiohttp caches resolved names for this time
DNS_TIMEOUT_SECONDS = 10.0  # two attempts of the resolver
MAX_DESCRIPTORS = 8  # fewer than an edge without any connection uses


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault, present while its context is open, and the outcomes that are right meanwhile."""

    name: str
    inject: Callable[[Stage], AbstractAsyncContextManager[None]]
    outcomes: Mapping[PlayKind, frozenset[str]]
    # Outcomes that may occur while the fault appears or disappears.
    also_possible: frozenset[str] = frozenset()
    min_seconds: float = 1.0  # the fault has to be present for this time
    # Plays may still fail this long after the fault: failures are cached, and requests in flight
    # run into their timeouts.
    aftermath_seconds: float = 6.0

    def is_expected(self, kind: PlayKind, outcome: str) -> bool:
        """Return whether this is the right outcome while the fault is present."""
        return outcome in self.outcomes.get(kind, {OK})

    def is_possible(self, kind: PlayKind, outcome: str) -> bool:
        """Return whether the fault alone can explain this outcome."""
        return outcome == OK or outcome in self.also_possible or self.is_expected(kind, outcome)


def expect_for_all(*outcomes: str) -> dict[PlayKind, frozenset[str]]:
    """Return the same right outcomes for every kind of play."""
    return dict.fromkeys(PLAY_KINDS, frozenset(outcomes))


@asynccontextmanager
async def break_exchange(
    kind: CallKind, broken: BrokenExchange, stage: Stage
) -> AsyncIterator[None]:
    stage.wire.exchanges[kind] = broken.exchange
    try:
        yield
    finally:
        del stage.wire.exchanges[kind]


@asynccontextmanager
async def break_handshake(broken: BrokenHandshake, stage: Stage) -> AsyncIterator[None]:
    stage.wire.handshake = broken.handshake
    await stage.wire.close_all()
    try:
        yield
    finally:
        stage.wire.handshake = None
        await stage.wire.close_all()


@asynccontextmanager
async def refuse_connections(stage: Stage) -> AsyncIterator[None]:
    await stage.wire.stop_listening()
    await stage.wire.close_all()
    try:
        yield
    finally:
        stage.wire.listen()


@asynccontextmanager
async def remove_names(stage: Stage) -> AsyncIterator[None]:
    """Remove all names from the hosts file; aiohttp uses its cache for ten more seconds."""

    async def keep_closing() -> None:
        while True:
            await stage.wire.close_all()
            await asyncio.sleep(0.3)

    original = stage.hosts.read_text()
    stage.hosts.write_text("")
    closing = asyncio.create_task(keep_closing())
    try:
        yield
    finally:
        closing.cancel()
        stage.hosts.write_text(original)


@asynccontextmanager
async def silence_name_server(stage: Stage) -> AsyncIterator[None]:
    with socket.socket(type=socket.SOCK_DGRAM) as silent:
        silent.bind((NAME_SERVER, 53))
        async with remove_names(stage):
            yield


@asynccontextmanager
async def shift_clock(seconds: int, stage: Stage) -> AsyncIterator[None]:
    stage.clock.write_text(f"{seconds:+}s\n")
    try:
        yield
    finally:
        stage.clock.write_text("+0\n")


@asynccontextmanager
async def fill_log_disk(stage: Stage) -> AsyncIterator[None]:
    """Redirect the log to a device without space left."""
    lost = await stage.read_metric("playgate_log_lines_lost_total")
    await stage.send_order("fill")
    try:
        yield
        assert await stage.read_metric("playgate_log_lines_lost_total") > lost
    finally:
        await stage.send_order("restore")


@asynccontextmanager
async def exhaust_descriptors(stage: Stage) -> AsyncIterator[None]:
    """Leave the edge no file descriptor for another connection, and open further connections.

    The limit is set between plays, since a player whose connection breaks could not reconnect.
    """
    soft, hard = resource.prlimit(stage.pid, resource.RLIMIT_NOFILE)
    async with stage.play_control.hold_plays():
        resource.prlimit(stage.pid, resource.RLIMIT_NOFILE, (MAX_DESCRIPTORS, hard))
        await stage.wire.close_all()
    with ExitStack() as stack:
        for _ in range(20):
            extra = stack.enter_context(socket.socket())
            extra.connect(("127.0.0.1", stage.edge.player))
        try:
            yield
        finally:
            resource.prlimit(stage.pid, resource.RLIMIT_NOFILE, (soft, hard))


FAULTS = (
    *(
        Fault(
            f"{kind}: {broken.name}",
            partial(break_exchange, kind, broken),
            dict.fromkeys(AFFECTED_PLAYS[kind], frozenset(broken.outcomes[kind])),
            frozenset(broken.also_possible),
        )
        for broken in BROKEN_EXCHANGES
        for kind in CALL_KINDS
        if kind in broken.outcomes
    ),
    *(
        Fault(f"connection: {broken.name}", partial(break_handshake, broken), expect_for_all(broken.outcome), frozenset({UNREACHABLE, CUT}))
        for broken in BROKEN_HANDSHAKES
    ),
    Fault("connection: refused", refuse_connections, expect_for_all(UNREACHABLE), frozenset({CUT})),
    Fault("name: not found", remove_names, expect_for_all(UNREACHABLE), frozenset({CUT}), min_seconds=DNS_CACHE_SECONDS + 2),
    Fault("name: a silent server", silence_name_server, expect_for_all(TIMEOUT), frozenset({CUT, UNREACHABLE}), min_seconds=DNS_CACHE_SECONDS + 2, aftermath_seconds=DNS_TIMEOUT_SECONDS + 4),
    Fault("clock: an hour ahead", partial(shift_clock, HOUR_SECONDS), {"redirect": frozenset({"token-expired"}), "playlist": frozenset({"token-expired"})}),
    Fault("clock: an hour behind", partial(shift_clock, -HOUR_SECONDS), {"redirect": frozenset({"token-not-yet-valid"}), "playlist": frozenset({"token-not-yet-valid", "seal-invalid"}), "bytes": frozenset({"seal-invalid"})}),
    Fault("logs: a full disk", fill_log_disk, {}),
    Fault("descriptors: none left", exhaust_descriptors, expect_for_all("overloaded"), frozenset({CUT, NO_RESPONSE, UNREACHABLE})),
)  # fmt: skip
