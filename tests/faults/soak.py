"""A soak: players all the time, one fault after the other, and what the edge holds meanwhile."""

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from statistics import median
from time import monotonic

from faults.faults import FAULTS, Fault
from faults.players import OK, Seen
from faults.stage import BUDGETS, Held, Stage

WARM = 5.0  # seconds of plays before anything is broken
LONGER = (0.0, 2.0)  # seconds that a fault lasts beyond what it has to
BETWEEN = (1.0, 2.0)  # seconds that all is well between two
# What a fault takes once and keeps is no leak; what it takes each time is. So all of them come
# first, and then growth is by how much the last minute has more than the first one thereafter.
GROWTH = 0.05  # of what the process had: more is a leak
MINUTE = 60  # samples, one a second
ROOM = 4_000_000  # bytes that are no growth: allocators take memory in large pieces


@dataclass(frozen=True, slots=True)
class Window:
    """When a fault was there; seconds on the monotonic clock."""

    fault: Fault
    begun: float
    ended: float

    def overlaps(self, seen: Seen) -> bool:
        """Say whether the fault may have had to do with what a player saw."""
        ended = seen.began_at + seen.seconds
        return seen.began_at <= self.ended + self.fault.felt and self.begun <= ended

    def explains(self, seen: Seen) -> bool:
        return self.overlaps(seen) and self.fault.is_possible(seen.part, seen.outcome)


@dataclass(frozen=True, slots=True)
class Sample:
    """What the edge held at a moment, in seconds from the beginning."""

    at: float
    held: Held


@dataclass(slots=True)
class Soak:
    """What came of a soak."""

    began_at: float
    before: Held
    after: Held | None = None
    seen: list[Seen] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    all_seen_at: float | None = None  # seconds from the beginning; then every fault has been there
    errors: list[str] = field(default_factory=list)  # lines of the log

    def unexplained(self) -> list[Seen]:
        return [
            it
            for it in self.seen
            if it.outcome != OK and not any(window.explains(it) for window in self.windows)
        ]

    def findings(self) -> list[str]:
        """Return what is wrong, a line each."""
        assert self.after is not None
        found = [f"not injected: {self.told(it)}" for it in self.unexplained()[:10]]
        late = [it for it in self.seen if it.seconds >= BUDGETS[it.part]]
        found += [f"took too long: {self.told(it)}" for it in late[:10]]
        found += [f"the log says: {line}" for line in self.errors[:10]]
        if not self.after.is_within(self.before):
            found.append(f"left behind: before {self.before}, after {self.after}")
        if (grown := self.growth() or 0) > 0:
            found.append(f"memory grew by {grown} bytes once every fault had been there")
        return found

    def told(self, seen: Seen) -> str:
        """Return what a player saw, and what was broken then."""
        begun = seen.began_at - self.began_at
        faults = [window.fault.name for window in self.windows if window.overlaps(seen)]
        return f"{seen.part}: {seen.outcome} at {begun:.1f}, {seen.seconds:.1f} s; {faults}"

    def growth(self) -> int | None:
        """Return by how much memory grew, beyond what is none; None where a soak is too short."""
        since = self.all_seen_at
        resident = [it.held.resident for it in self.samples if since is not None and it.at > since]
        if len(resident) < 2 * MINUTE:
            return None
        first, last = median(resident[:MINUTE]), median(resident[-MINUTE:])
        return max(0, int(last - first * (1 + GROWTH)) - ROOM)

    def outcomes(self) -> dict[str, int]:
        return dict(Counter(it.outcome for it in self.seen).most_common())


async def soak(stage: Stage, seconds: float, seed: int) -> Soak:
    """Break one thing after the other for so many seconds."""
    async with stage.players() as warming:
        await asyncio.sleep(WARM)
    assert {it.outcome for it in warming.seen} == {OK}
    result = Soak(began_at=monotonic(), before=await stage.rested())
    random = Random(seed)
    async with stage.players() as players:
        async with asyncio.TaskGroup() as group:
            sampling = group.create_task(keep_sampling(stage, result))
            while monotonic() < result.began_at + seconds:
                for fault in random.sample(FAULTS, len(FAULTS)):
                    if monotonic() >= result.began_at + seconds:
                        break
                    await let_happen(fault, stage, random, result)
                else:
                    result.all_seen_at = result.all_seen_at or monotonic() - result.began_at
            await players.see(3, lambda it: it.outcome == OK)
            sampling.cancel()
        result.seen = players.seen
    result.after = await come_to_rest(stage, result.before)
    return result


async def let_happen(fault: Fault, stage: Stage, random: Random, result: Soak) -> None:
    begun = monotonic()
    async with fault.begun(stage):
        await asyncio.sleep(fault.lasts + random.uniform(*LONGER))
    result.windows.append(Window(fault, begun, monotonic()))
    await asyncio.sleep(random.uniform(*BETWEEN))
    result.errors += stage.errors()
    stage.edge.process.output = ""  # ten minutes of lines are more than is worth keeping


async def keep_sampling(stage: Stage, result: Soak) -> None:
    while True:
        with suppress(OSError, ValueError):  # without a descriptor to spare it tells nothing
            result.samples.append(Sample(monotonic() - result.began_at, await stage.look()))
        await asyncio.sleep(1)


async def come_to_rest(stage: Stage, before: Held) -> Held:
    try:
        return await stage.comes_back_to(before)
    except AssertionError:
        return await stage.held()
