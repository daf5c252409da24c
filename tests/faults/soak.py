"""A soak test: inject one fault after the other under load, and sample the edge's resources."""

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from statistics import median
from time import monotonic

from faults.faults import FAULTS, Fault
from faults.players import OK, PlayResult
from faults.stage import MAX_PLAY_SECONDS, Resources, Stage

WARM_UP_SECONDS = 5.0  # plays before the first fault
EXTRA_FAULT_SECONDS = (0.0, 2.0)  # random time that a fault is present beyond its minimum
RECOVERY_SECONDS = (1.0, 2.0)  # random time between two faults
# Memory that a fault takes only once is not a leak; memory that it takes each time is. So growth is
# measured after every fault has occurred once: the median of the last minute minus that of the first.
MAX_GROWTH = 0.05  # as a fraction of the earlier memory; more is a leak
SAMPLES_PER_MINUTE = 60
IGNORED_GROWTH_BYTES = 4_000_000  # allocators take memory in large pieces


@dataclass(frozen=True, slots=True)
class Window:
    """The time in which a fault was present, in seconds on the monotonic clock."""

    fault: Fault
    started_at: float
    ended_at: float

    def overlaps(self, result: PlayResult) -> bool:
        """Return whether the fault may have affected a play."""
        play_ended_at = result.started_at + result.seconds
        fault_felt_until = self.ended_at + self.fault.aftermath_seconds
        return result.started_at <= fault_felt_until and self.started_at <= play_ended_at

    def explains(self, result: PlayResult) -> bool:
        return self.overlaps(result) and self.fault.is_possible(result.kind, result.outcome)


@dataclass(frozen=True, slots=True)
class Sample:
    """The edge's resources at one moment of the soak."""

    at: float  # seconds since the start of the soak
    resources: Resources


@dataclass(slots=True)
class Soak:
    """The results of a soak."""

    started_at: float
    before: Resources
    after: Resources | None = None
    results: list[PlayResult] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    # Seconds since the start, after which every fault has occurred once.
    all_faults_seen_at: float | None = None
    errors: list[str] = field(default_factory=list)  # log lines

    def find_unexplained(self) -> list[PlayResult]:
        return [
            result
            for result in self.results
            if result.outcome != OK and not any(window.explains(result) for window in self.windows)
        ]

    def list_findings(self) -> list[str]:
        """Return a line for each error that the injected faults do not explain."""
        assert self.after is not None
        findings = [
            f"failed without an injected fault: {self.describe(result)}"
            for result in self.find_unexplained()[:10]
        ]
        late = [
            result for result in self.results if result.seconds >= MAX_PLAY_SECONDS[result.kind]
        ]
        findings += [f"took too long: {self.describe(result)}" for result in late[:10]]
        findings += [f"error in the log: {line}" for line in self.errors[:10]]
        if not self.after.is_within(self.before):
            findings.append(f"resources not released: before {self.before}, after {self.after}")
        if (growth := self.compute_growth_bytes() or 0) > 0:
            findings.append(f"memory grew by {growth} bytes after every fault had occurred once")
        return findings

    def describe(self, result: PlayResult) -> str:
        """Return a play's outcome and time, and the faults that may have affected it."""
        at = result.started_at - self.started_at
        faults = [window.fault.name for window in self.windows if window.overlaps(result)]
        return f"{result.kind}: {result.outcome} at {at:.1f}, {result.seconds:.1f} s; {faults}"

    def compute_growth_bytes(self) -> int | None:
        """Return the growth of memory beyond the tolerance; None if the soak was too short."""
        since = self.all_faults_seen_at
        resident = [
            sample.resources.resident
            for sample in self.samples
            if since is not None and sample.at > since
        ]
        if len(resident) < 2 * SAMPLES_PER_MINUTE:
            return None
        first, last = median(resident[:SAMPLES_PER_MINUTE]), median(resident[-SAMPLES_PER_MINUTE:])
        return max(0, int(last - first * (1 + MAX_GROWTH)) - IGNORED_GROWTH_BYTES)

    def count_outcomes(self) -> dict[str, int]:
        """Return the number of plays by outcome, the most frequent first."""
        return dict(Counter(result.outcome for result in self.results).most_common())


async def run_soak(stage: Stage, seconds: float, seed: int) -> Soak:
    """Inject faults in random order for `seconds`; return the results."""
    async with stage.run_players() as warm_up:
        await asyncio.sleep(WARM_UP_SECONDS)
    assert {result.outcome for result in warm_up.results} == {OK}
    soak = Soak(started_at=monotonic(), before=await stage.wait_until_stable())
    random = Random(seed)
    async with stage.run_players() as players:
        async with asyncio.TaskGroup() as group:
            sampling = group.create_task(keep_sampling(stage, soak))
            while monotonic() < soak.started_at + seconds:
                for fault in random.sample(FAULTS, len(FAULTS)):
                    if monotonic() >= soak.started_at + seconds:
                        break
                    await inject_fault(fault, stage, random, soak)
                else:
                    elapsed = monotonic() - soak.started_at
                    soak.all_faults_seen_at = soak.all_faults_seen_at or elapsed
            await players.wait_for(3, lambda result: result.outcome == OK)
            sampling.cancel()
        soak.results = players.results
    soak.after = await wait_until_recovered(stage, soak.before)
    return soak


async def inject_fault(fault: Fault, stage: Stage, random: Random, soak: Soak) -> None:
    """Inject a fault, let the edge recover, and record the time and the logged errors."""
    started_at = monotonic()
    async with fault.inject(stage):
        await asyncio.sleep(fault.min_seconds + random.uniform(*EXTRA_FAULT_SECONDS))
    soak.windows.append(Window(fault, started_at, monotonic()))
    await asyncio.sleep(random.uniform(*RECOVERY_SECONDS))
    soak.errors += stage.read_errors()
    stage.edge.process.output = ""  # do not keep the log lines of the whole soak


async def keep_sampling(stage: Stage, soak: Soak) -> None:
    """Sample the edge's resources each second."""
    while True:
        with suppress(OSError, ValueError):  # the debug socket fails without a free descriptor
            soak.samples.append(Sample(monotonic() - soak.started_at, await stage.measure()))
        await asyncio.sleep(1)


async def wait_until_recovered(stage: Stage, before: Resources) -> Resources:
    """Wait until the edge has released its resources; return those that it has then."""
    try:
        return await stage.wait_until_within(before)
    except AssertionError:
        return await stage.measure_without_idle()
