"""A refusal's trace holds what its frames held: it is gone with the answer, not with the collector."""

import gc

import aiohttp
import pytest
from support import an_edge
from traffic import child_of

from proxy.adapters.errors import drop_tracebacks
from proxy.domain.reasons import Refusal
from proxy.sandbox.controls import Fault

QUICK = {"play_timeout": 1}
FAULTS = [
    ("playlist", Fault(status=200, body="<html>")),
    ("playlist", Fault(status=200, body="#" * 3_000_000)),
    ("video", Fault(status=404)),
    ("video", Fault(status=500)),
    ("video", Fault(status=200, body="[" * 100_000)),
    ("video", Fault(cut="within")),
    ("video", Fault(cut="before")),
    ("playlist", Fault(cut="within")),
    ("video", Fault(delay=5)),
]


def errors_left() -> list[BaseException]:
    """Return the errors that are still there, one of which may be what is told to /readyz."""
    return [it for it in gc.get_objects() if isinstance(it, (Refusal, aiohttp.ClientError))]


def holding_frames(errors: list[BaseException]) -> list[BaseException]:
    return [it for it in errors if it.__traceback__ is not None]


@pytest.mark.parametrize(("kind", "fault"), FAULTS)
async def test_a_refusal_is_no_cycle(sandbox, kind, fault):
    async with an_edge(sandbox, delivery={"mode": "relay"}, platform=QUICK) as edge:
        sandbox.controls.set_fault(kind, fault)
        await edge.play()
        gc.collect()
        gc.disable()
        try:
            answers = [await edge.play() for _ in range(3)]
            left = errors_left()
        finally:
            gc.enable()

    assert all(answer.status >= 400 for answer in answers)
    assert holding_frames(left) == []
    assert sum(isinstance(it, Refusal) for it in left) <= 1


async def test_nor_is_one_in_the_middle_of_an_answer(sandbox):
    async with an_edge(sandbox, delivery={"mode": "relay"}) as edge:
        media = child_of((await edge.play()).body.decode())
        segment = child_of((await edge.get(edge.player + media)).body.decode())
        sandbox.controls.set_fault("segment", Fault(status=200, body="x" * 1000, cut="within"))
        gc.collect()
        gc.disable()
        try:
            for _ in range(3):
                with pytest.raises(aiohttp.ClientPayloadError) as caught:
                    await edge.get(edge.player + segment)
                drop_tracebacks(caught.value)  # the player's own
                del caught
            left = errors_left()
        finally:
            gc.enable()

    assert holding_frames(left) == []
