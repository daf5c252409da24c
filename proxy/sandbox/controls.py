"""Test controls of the sandbox: count calls, hold responses back and inject faults.

Every control applies to one kind of call.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, replace
from typing import Literal, get_args

CallKind = Literal["token", "video", "playlist", "segment", "account", "manage", "upload"]
CALL_KINDS: tuple[CallKind, ...] = get_args(CallKind)

# Responses are never held back or delayed for longer.
MAX_HOLD_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault that replaces the next `times` responses, or all responses until it is cleared.

    A fault with nothing but a delay sends the normal response late.
    """

    status: int | None = None  # None means 500, unless the fault is only a delay
    delay: float = 0.0  # seconds
    body: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    # Abort the connection before the response or within its body, or send the body byte by byte.
    cut: Literal["", "before", "within", "drip"] = ""
    times: int | None = None  # None: until the fault is cleared

    def __post_init__(self) -> None:
        """Reject a delay that is negative, NaN or longer than MAX_HOLD_SECONDS.

        Raises:
            ValueError: the delay is out of range.
        """
        if not 0 <= self.delay <= MAX_HOLD_SECONDS:
            raise ValueError("delay")

    @property
    def is_delay_only(self) -> bool:
        """Whether the normal response still follows after the delay."""
        return bool(self.delay) and self.status is None and not self.body and not self.cut


class Controls:
    """Counts calls, holds responses back and injects faults, each by kind of call."""

    def __init__(self) -> None:
        self.calls: Counter[CallKind] = Counter()
        self.waiting: Counter[CallKind] = Counter()
        self._holds: dict[CallKind, tuple[asyncio.Event, int | None]] = {}
        self._faults: dict[CallKind, Fault] = {}

    def hold(self, kind: CallKind, until: int | None = None) -> None:
        """Hold responses back until `until` calls of the kind wait, or until `release()`."""
        self._holds[kind] = (asyncio.Event(), until)

    def release(self, kind: CallKind) -> None:
        """Send the responses that are held back, and stop holding this kind."""
        if (hold := self._holds.pop(kind, None)) is not None:
            released, _ = hold
            released.set()

    def set_fault(self, kind: CallKind, fault: Fault | None) -> None:
        """Inject a fault into a kind of call; None removes the fault."""
        if fault is None:
            self._faults.pop(kind, None)
        else:
            self._faults[kind] = fault

    async def pass_through(self, kind: CallKind) -> Fault | None:
        """Count a call, apply the hold and the delay of its kind, and return the fault to send.

        None means that the handler sends the normal response.
        """
        self.calls[kind] += 1
        if (hold := self._holds.get(kind)) is not None:
            await self._wait(kind, *hold)
        fault = self._faults.get(kind)
        if fault is not None and fault.times is not None:
            times_left = fault.times - 1
            self.set_fault(kind, None if times_left == 0 else replace(fault, times=times_left))
        if fault is not None and fault.delay:
            await asyncio.sleep(fault.delay)
        return None if fault is None or fault.is_delay_only else fault

    async def _wait(self, kind: CallKind, released: asyncio.Event, until: int | None) -> None:
        self.waiting[kind] += 1
        try:
            if until is not None and self.waiting[kind] >= until:
                self.release(kind)
            async with asyncio.timeout(MAX_HOLD_SECONDS):
                await released.wait()
        except TimeoutError:
            self.release(kind)
        finally:
            self.waiting[kind] -= 1
