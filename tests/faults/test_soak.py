"""make soak: it ends, prints its findings, and finds errors that no fault explains."""

import json

import pytest
from support import run_module, skip_or_fail

from faults.faults import FAULTS
from faults.players import OK, PlayResult
from faults.soak import Sample, Soak, Window
from faults.stage import MAX_PLAY_SECONDS, Resources, find_missing_requirement

RESOURCES = Resources(tasks=("one",), descriptors=10, resident=100_000_000)
FAULT = next(fault for fault in FAULTS if fault.name == "bytes: 503")


def build_soak(*results: PlayResult) -> Soak:
    """Return a soak with these plays, and FAULT from second 10 to 12."""
    return Soak(
        started_at=0,
        before=RESOURCES,
        after=RESOURCES,
        results=list(results),
        windows=[Window(FAULT, 10, 12)],
        samples=[Sample(0, RESOURCES)],
    )


def test_a_short_soak_has_no_findings_and_writes_a_picture(tmp_path):
    if missing := find_missing_requirement():
        skip_or_fail(missing)
    png = tmp_path / "soak.png"
    run = run_module("faults", "--minutes", "0.2", "--png", png)

    assert run.returncode == 0, run.stdout + run.stderr
    assert json.loads(run.stdout)["findings"] == []
    assert json.loads(run.stdout)["faults"] > 0
    assert png.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("result", "is_explained"),
    [
        (PlayResult("bytes", OK, 5, 0.1), True),
        (PlayResult("bytes", "platform-unreachable", 5, 0.1), False),
        (PlayResult("bytes", "platform-unreachable", 10.5, 0.1), True),
        (PlayResult("bytes", "platform-unreachable", 9.5, 1), True),
        (PlayResult("bytes", "platform-unreachable", 12 + FAULT.aftermath_seconds + 1, 0.1), False),
        (PlayResult("bytes", "internal", 10.5, 0.1), False),
        (PlayResult("redirect", "platform-unreachable", 10.5, 0.1), False),
        (PlayResult("bytes", "platform-unreachable", 10.5, MAX_PLAY_SECONDS["bytes"]), False),
    ],
)
def test_a_failure_that_no_fault_explains_is_found(result, is_explained):
    assert (build_soak(result).list_findings() == []) == is_explained


@pytest.mark.parametrize(
    "left",
    [
        Resources(("one", "two"), 10, RESOURCES.resident),
        Resources(("one",), 11, RESOURCES.resident),
    ],
)
def test_tasks_and_descriptors_left_behind_are_found(left):
    soak = build_soak()
    soak.after = left

    assert "not released" in soak.list_findings()[0]


@pytest.mark.parametrize(("bytes_a_second", "is_found"), [(0, False), (1_000_000, True)])
def test_growing_memory_is_found(bytes_a_second, is_found):
    soak = build_soak()
    soak.all_faults_seen_at = 30
    soak.samples = [
        Sample(n, Resources(("one",), 10, RESOURCES.resident + n * bytes_a_second))
        for n in range(200)
    ]

    # The samples of the first 30 seconds do not count.
    assert (soak.compute_growth_bytes() > 30_000_000) == is_found
    assert any("memory grew" in finding for finding in soak.list_findings()) == is_found


def test_an_error_in_the_log_is_found():
    soak = build_soak()
    soak.errors = ["a library's error"]

    assert soak.list_findings() == ["error in the log: a library's error"]
