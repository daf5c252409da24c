"""What instances tell each other is pulled behind the plays, again and again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from proxy.adapters.clock import Clock
from proxy.adapters.logs import Logger
from proxy.domain.reasons import Refusal

EARLY = 0.8  # of the staleness: the rest is for the answer to come


class Pulling:
    """Pulls, and goes on whatever happens."""

    def __init__(
        self, pulls: Sequence[Callable[[], Awaitable[None]]], clock: Clock, log: Logger
    ) -> None:
        self._pulls = tuple(pulls)
        self._clock = clock
        self._log = log

    async def keep_on(self, staleness: float) -> None:
        """Pull so often that nothing here is older than so many seconds, for ever."""
        while True:
            for pull in self._pulls:
                await self._try(pull)
            await self._clock.sleep(staleness * EARLY)

    async def _try(self, pull: Callable[[], Awaitable[None]]) -> None:
        try:
            await pull()
        except Refusal:
            return  # noted where it was asked
        except Exception:  # noqa: BLE001  # a bug: it must not end the pulling
            self._log.exception("internal", task="pull")
