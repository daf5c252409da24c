"""Pull revocations and verdicts from the shared state in the background."""

from collections.abc import Awaitable, Callable, Sequence

from proxy.adapters.errors import StateError
from proxy.adapters.telemetry import Telemetry
from proxy.edge.shared_state import build_state_refusal

Pull = Callable[[], Awaitable[None]]

PULL_INTERVAL_SHARE = 0.8  # of `state.max_staleness`; the rest is for the response to arrive


async def keep_pulling(pulls: Sequence[Pull], max_staleness: float, telemetry: Telemetry) -> None:
    """Pull often enough that data is at most `max_staleness` seconds old; run until cancelled."""
    while True:
        failure = None
        for pull in pulls:
            try:
                await pull()
            except StateError as error:
                failure = failure or error
            except Exception:  # a bug; it must not end this loop
                telemetry.log.exception("internal", task="state-sync")
        if failure is None:
            telemetry.health.record_success("pull")
            telemetry.health.has_current_revocations = True
        else:
            telemetry.health.record_refusal("pull", build_state_refusal(failure))
        await telemetry.clock.sleep(max_staleness * PULL_INTERVAL_SHARE)
