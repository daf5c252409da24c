"""The state that instances share, as this machine reaches it."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from proxy.adapters.errors import StateError
from proxy.adapters.telemetry import build_telemetry
from proxy.cli.doctor.findings import Visit, broken, next_step_of, ok, warn
from proxy.cli.options import Finding
from proxy.edge.state import state_unavailable
from proxy.wiring import open_state

NAME = "doctor"


async def look_at_state(visit: Visit) -> AsyncGenerator[Finding, None]:
    """Ask the state as an edge does, and say how long that takes."""
    config, clock = visit.settings.state, visit.process.telemetry.clock
    async with open_state(visit.settings, build_telemetry()) as (state, _):
        if not state.is_shared:
            return  # nothing to reach
        try:
            await state.probe()  # connected; from here on it is what a play waits for
            started = clock.monotonic()
            await state.claim(NAME, NAME, ttl=1)
            took = clock.monotonic() - started
        except StateError as error:
            refusal = state_unavailable(error)
            step = next_step_of(refusal.reason, refusal.detail)
            yield broken("state", f"{refusal.reason}: {refusal.detail}", step)
            return
        text = f"read and written in {took * 1000:.1f} ms"
        if took > config.timeout / 2:
            step = "Move it closer, or raise state.timeout: plays wait for it with first_use."
            yield warn("state", f"{text}, and state.timeout is {config.timeout * 1000:g} ms", step)
        else:
            yield ok("state", text)
