"""What instances share is pulled behind the plays, again and again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from proxy.adapters.errors import StateError
from proxy.adapters.telemetry import Telemetry
from proxy.edge.state import state_unavailable

Pull = Callable[[], Awaitable[None]]

EARLY = 0.8  # of the staleness: the rest is for the answer to come


async def keep_pulling(pulls: Sequence[Pull], staleness: float, telemetry: Telemetry) -> None:
    """Pull so often that nothing here is older than so many seconds, for ever."""
    while True:
        failure = None
        for pull in pulls:
            try:
                await pull()
            except StateError as error:
                failure = failure or error
            except Exception:  # a bug: it must not end the pulling
                telemetry.log.exception("internal", task="pull")
        if failure is None:
            telemetry.health.note_success("pull")
            telemetry.health.is_informed = True
        else:
            telemetry.health.note_refusal("pull", state_unavailable(failure))
        await telemetry.clock.sleep(staleness * EARLY)
