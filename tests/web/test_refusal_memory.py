"""A refusal's traceback keeps objects alive: it is freed with the response, without the collector.

The frames of a traceback reference their local variables, such as a whole playlist.
"""

import gc

import aiohttp
import pytest
from relay_stack import find_relay_paths
from support import run_test_edge

from proxy.adapters.errors import drop_tracebacks
from proxy.domain.reasons import Refusal
from proxy.sandbox.controls import Fault

SHORT_TIMEOUT = {"play_timeout": 1}
FAULTS = [
    ("playlist", Fault(status=200, body="<html>")),
    ("playlist", Fault(status=200, body="#" * 3_000_000)),
    ("playlist", Fault(status=200, body="#EXTM3U\n" * 3_000_000)),
    ("video", Fault(status=404)),
    ("video", Fault(status=500)),
    ("video", Fault(status=200, body="[" * 100_000)),
    ("video", Fault(cut="within")),
    ("video", Fault(cut="before")),
    ("playlist", Fault(cut="within")),
    ("video", Fault(delay=5)),
]


def find_live_errors() -> list[BaseException]:
    """Return all errors that still exist. /readyz may keep one of them for its report."""
    return [item for item in gc.get_objects() if isinstance(item, (Refusal, aiohttp.ClientError))]


def select_with_traceback(errors: list[BaseException]) -> list[BaseException]:
    return [error for error in errors if error.__traceback__ is not None]


@pytest.mark.parametrize(("kind", "fault"), FAULTS)
async def test_a_refusal_leaves_no_reference_cycle(sandbox, kind, fault):
    async with run_test_edge(sandbox, delivery={"mode": "relay"}, platform=SHORT_TIMEOUT) as edge:
        sandbox.controls.set_fault(kind, fault)
        await edge.play()
        gc.collect()
        gc.disable()
        try:
            responses = [await edge.play() for _ in range(3)]
            errors = find_live_errors()
        finally:
            gc.enable()

    assert all(response.status >= 400 for response in responses)
    assert select_with_traceback(errors) == []
    assert sum(isinstance(error, Refusal) for error in errors) <= 1


async def test_a_refusal_during_a_response_leaves_no_reference_cycle(sandbox):
    async with run_test_edge(sandbox, delivery={"mode": "relay"}) as edge:
        media = find_relay_paths((await edge.play()).body)[0]
        segment = find_relay_paths((await edge.get(edge.player + media)).body, media)[0]
        sandbox.controls.set_fault("segment", Fault(status=200, body="x" * 1000, cut="within"))
        gc.collect()
        gc.disable()
        try:
            for _ in range(3):
                with pytest.raises(aiohttp.ClientPayloadError) as caught:
                    await edge.get(edge.player + segment)
                drop_tracebacks(caught.value)  # this error belongs to the test's own client
                del caught
            errors = find_live_errors()
        finally:
            gc.enable()

    assert select_with_traceback(errors) == []
