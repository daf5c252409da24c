"""Switches for tests and for the curious: count calls, hold answers back, inject faults."""

import asyncio
from collections import Counter
from dataclasses import dataclass, replace
from typing import Literal, get_args

CallKind = Literal["token", "video", "playlist", "segment", "account", "manage", "upload"]
CALL_KINDS: tuple[CallKind, ...] = get_args(CallKind)

MAX_HOLD_SECONDS = 60.0  # seconds; no answer is ever held back for ever


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens instead of an answer, for the next `times` calls (None: until cleared).

    A delay alone (seconds) keeps the answer as it is, and makes it late.
    """

    status: int | None = None  # 500, unless there is nothing but a delay
    delay: float = 0.0
    body: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    cut: Literal["", "before", "within", "drip"] = ""  # end, or stretch, the connection
    times: int | None = None

    def __post_init__(self) -> None:
        """Refuse what would hold an answer back for ever, or for no time that there is."""
        if not 0 <= self.delay <= MAX_HOLD_SECONDS:
            raise ValueError("delay")

    @property
    def is_delay_only(self) -> bool:
        """Say whether the answer itself is still to be given."""
        return bool(self.delay) and self.status is None and not self.body and not self.cut


class Controls:
    """Calls by kind, gates by kind, faults by kind."""

    def __init__(self) -> None:
        self.calls: Counter[CallKind] = Counter()
        self.waiting: Counter[CallKind] = Counter()
        self._gates: dict[CallKind, tuple[asyncio.Event, int | None]] = {}
        self._faults: dict[CallKind, Fault] = {}

    def hold(self, kind: CallKind, until: int | None = None) -> None:
        """Hold answers back until `until` calls of the kind wait, or until `release`."""
        self._gates[kind] = (asyncio.Event(), until)

    def release(self, kind: CallKind) -> None:
        """Let the answers held back go."""
        if (gate := self._gates.pop(kind, None)) is not None:
            gate[0].set()

    def set_fault(self, kind: CallKind, fault: Fault | None) -> None:
        """Break the kind of call, or mend it."""
        if fault is None:
            self._faults.pop(kind, None)
        else:
            self._faults[kind] = fault

    async def pass_through(self, kind: CallKind) -> Fault | None:
        """Count a call, wait where answers are held back, and return the fault it meets."""
        self.calls[kind] += 1
        if (gate := self._gates.get(kind)) is not None:
            await self._wait(kind, *gate)
        fault = self._faults.get(kind)
        if fault is not None and fault.times is not None:
            left = fault.times - 1
            self.set_fault(kind, None if left == 0 else replace(fault, times=left))
        if fault is not None and fault.delay:
            await asyncio.sleep(fault.delay)
        return None if fault is None or fault.is_delay_only else fault

    async def _wait(self, kind: CallKind, opened: asyncio.Event, until: int | None) -> None:
        self.waiting[kind] += 1
        try:
            if until is not None and self.waiting[kind] >= until:
                self.release(kind)
            async with asyncio.timeout(MAX_HOLD_SECONDS):
                await opened.wait()
        except TimeoutError:
            self.release(kind)
        finally:
            self.waiting[kind] -= 1
