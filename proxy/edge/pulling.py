"""What instances tell each other is pulled behind the plays, again and again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from proxy.adapters.clock import Clock
from proxy.adapters.logs import Logger
from proxy.domain.reasons import Refusal
from proxy.edge.health import Health

Pull = Callable[[], Awaitable[None]]

EARLY = 0.8  # of the staleness: the rest is for the answer to come


async def keep_pulling(
    pulls: Sequence[Pull], staleness: float, *, clock: Clock, health: Health, log: Logger
) -> None:
    """Pull so often that nothing here is older than so many seconds, for ever."""
    while True:
        refusal = None
        for pull in pulls:
            try:
                await pull()
            except Refusal as refused:
                refusal = refusal or refused
            except Exception:  # a bug: it must not end the pulling
                log.exception("internal", task="pull")
        if refusal is None:
            health.note_success("pull")
            health.is_informed = True
        else:
            health.note_refusal("pull", refusal)
        await clock.sleep(staleness * EARLY)
