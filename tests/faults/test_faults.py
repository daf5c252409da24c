"""Under each fault, plays get the right outcome in time; afterwards, they succeed again.

No fault may leave tasks, descriptors or much memory behind in the edge.
"""

import pytest
import pytest_asyncio
from support import skip_or_fail, wait_until

from faults.broken_exchanges import OK
from faults.faults import FAULTS, Fault
from faults.players import PlayResult
from faults.stage import MAX_PLAY_SECONDS, Stage, find_missing_requirement, run_stage

pytestmark = pytest.mark.asyncio(loop_scope="module")

MAX_GROWTH_BYTES = 96_000_000  # under load; two playlists of 16 MB may be read at once
PLAYS = 3  # of each kind


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory):
    if missing := find_missing_requirement():
        skip_or_fail(missing)
    async with run_stage(tmp_path_factory.mktemp("faults")) as running:
        async with running.run_players() as players:
            await players.wait_for(50, is_ok)
        yield running


def is_ok(result: PlayResult) -> bool:
    return result.outcome == OK


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
async def test_plays_get_the_right_outcome_during_and_after_a_fault(stage: Stage, fault: Fault):
    before, logged = await stage.wait_until_stable(), len(stage.edge.process.output)
    broken_count = stage.wire.broken_count
    async with stage.run_players() as players:
        await players.wait_for(PLAYS, is_ok)
        async with fault.inject(stage):
            if any(OK in outcomes for outcomes in fault.outcomes.values()):
                # Plays may succeed, so their outcomes do not show that the fault has occurred.
                await wait_until(lambda: stage.wire.broken_count > broken_count)
            await players.wait_for(
                PLAYS, lambda result: fault.is_expected(result.kind, result.outcome)
            )
        await players.wait_for(PLAYS, is_ok)

    assert not stage.read_errors(logged)
    assert not [
        result for result in players.results if not fault.is_possible(result.kind, result.outcome)
    ]
    assert not [
        result for result in players.results if result.seconds >= MAX_PLAY_SECONDS[result.kind]
    ]
    assert (await stage.wait_until_within(before)).resident < before.resident + MAX_GROWTH_BYTES
