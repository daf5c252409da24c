"""A soak: players all the time, one fault after the other, and what the edge holds meanwhile."""

from __future__ import annotations

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
LASTS = (1.0, 4.0)  # seconds that a fault lasts, and that all is well between two
# Consequences of a fault that is over: names and failed fetches are remembered, and who waits for
# an attempt waits on.
AFTER = 4.0
GROWTH = 0.05  # of what the process had at the middle of the soak: more is a leak
TELLING = 180  # samples, one a second: caches are full, and every size has been asked for
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
        return seen.began_at <= self.ended + AFTER and self.begun <= ended

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
    bugs: int = 0  # traces in the log

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
        if self.bugs:
            found.append(f"{self.bugs} lines in the log are of bugs")
        if not self.after.is_within(self.before):
            found.append(f"left behind: before {self.before}, after {self.after}")
        if (grown := self.growth()) > 0:
            found.append(f"memory grew by {grown} bytes from the second quarter to the last")
        return found

    def told(self, seen: Seen) -> str:
        """Return what a player saw, and what was broken then."""
        begun = seen.began_at - self.began_at
        faults = [window.fault.name for window in self.windows if window.overlaps(seen)]
        return f"{seen.part}: {seen.outcome} at {begun:.1f}, {seen.seconds:.1f} s; {faults}"

    def growth(self) -> int:
        """Return by how much memory grew, beyond what is none; too short a soak cannot tell."""
        resident = [sample.held.resident for sample in self.samples]
        if len(resident) < TELLING:
            return 0
        quarter = len(resident) // 4
        second, last = resident[quarter : 2 * quarter], resident[-quarter:]
        return max(0, int(median(last) - median(second) * (1 + GROWTH)) - ROOM)

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
        sampling = asyncio.create_task(keep_sampling(stage, result))
        while monotonic() < result.began_at + seconds:
            for fault in random.sample(FAULTS, len(FAULTS)):
                if monotonic() >= result.began_at + seconds:
                    break
                await let_happen(fault, stage, random, result)
        await players.see(3, lambda it: it.outcome == OK)
        sampling.cancel()
        result.seen = players.seen
    result.after = await come_to_rest(stage, result.before)
    return result


async def let_happen(fault: Fault, stage: Stage, random: Random, result: Soak) -> None:
    begun = monotonic()
    async with fault.begun(stage):
        await asyncio.sleep(random.uniform(*LASTS))
    result.windows.append(Window(fault, begun, monotonic()))
    await asyncio.sleep(random.uniform(*LASTS))
    result.bugs += stage.edge.process.output.count('"internal"')
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
