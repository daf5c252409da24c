"""The state that instances share, as this machine reaches it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import suppress

from proxy.cli.doctor.findings import Visit, broken, next_step_of, ok, warn
from proxy.cli.report import Finding
from proxy.domain.reasons import Refusal
from proxy.wiring.state import build_state

NAME = "doctor"


async def look_at_state(visit: Visit) -> AsyncGenerator[Finding, None]:
    """Ask the state as an edge does, and say how long that takes."""
    state = build_state(visit.settings, visit.instruments)
    if not state.is_shared:
        return  # nothing to reach
    clock, most = visit.instruments.clock, visit.settings.state.timeout
    try:
        await state.probe()  # connected; from here on it is what a play waits for
        started = clock.monotonic()
        await state.claim(NAME, NAME, ttl=1)
        took = clock.monotonic() - started
        text = f"read and written in {took * 1000:.1f} ms"
        if took > most / 2:
            step = "Move it closer, or raise state.timeout: plays wait for it with first_use."
            yield warn("state", f"{text}, and state.timeout is {most * 1000:g} ms", step)
        else:
            yield ok("state", text)
    except Refusal as refusal:
        detail = refusal.detail
        yield broken("state", f"{refusal.reason}: {detail}", next_step_of(refusal.reason, detail))
    finally:
        with suppress(Refusal):
            await state.close()
