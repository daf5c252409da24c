"""Whatever breaks around an edge: the right answer, in time, nothing left behind, and plays again
as soon as it is mended.
"""

import pytest
import pytest_asyncio
from support import eventually, skip_or_fail

from faults.broken_exchanges import OK
from faults.faults import FAULTS, Fault
from faults.players import Seen
from faults.stage import BUDGETS, Stage, staged, what_is_missing

pytestmark = pytest.mark.asyncio(loop_scope="module")

MORE = 24_000_000  # bytes that a process may grow by under load: a playlist may have two million
ENOUGH = 3  # plays of each kind


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory):
    if missing := what_is_missing():
        skip_or_fail(missing)
    async with staged(tmp_path_factory.mktemp("faults")) as running:
        async with running.players() as players:
            await players.see(50, is_ok)
        yield running


def is_ok(seen: Seen) -> bool:
    return seen.outcome == OK


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
async def test_a_fault(stage: Stage, fault: Fault):
    before, said = await stage.rested(), len(stage.edge.process.output)
    broken = stage.wire.broken
    async with stage.players() as players:
        await players.see(ENOUGH, is_ok)
        async with fault.begun(stage):
            if any(OK in outcomes for outcomes in fault.outcomes.values()):
                await eventually(lambda: stage.wire.broken > broken)  # no player tells
            await players.see(ENOUGH, lambda it: fault.is_right(it.part, it.outcome))
        await players.see(ENOUGH, is_ok)

    assert not stage.errors(said)
    assert not [it for it in players.seen if not fault.is_possible(it.part, it.outcome)]
    assert not [it for it in players.seen if it.seconds >= BUDGETS[it.part]]
    assert (await stage.comes_back_to(before)).resident < before.resident + MORE
