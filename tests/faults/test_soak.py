"""make soak: it ends, says what came of it, and is not content with everything."""

import json

import pytest
from support import run_of, skip_or_fail

from faults.faults import FAULTS
from faults.players import OK, Seen
from faults.soak import Sample, Soak, Window
from faults.stage import BUDGETS, Held, what_is_missing

HELD = Held(tasks=("one",), descriptors=10, resident=100_000_000)
FAULT = next(it for it in FAULTS if it.name == "bytes: 503")  # from 10 to 12 seconds


def a_soak(*seen: Seen) -> Soak:
    return Soak(began_at=0, before=HELD, after=HELD, seen=list(seen), windows=[Window(FAULT, 10, 12)], samples=[Sample(0, HELD)])  # fmt: skip


def test_a_short_soak_ends_well_and_leaves_a_picture(tmp_path):
    if missing := what_is_missing():
        skip_or_fail(missing)
    png = tmp_path / "soak.png"
    run = run_of("faults", "--minutes", "0.2", "--png", png)

    assert run.returncode == 0, run.stdout + run.stderr
    assert json.loads(run.stdout)["findings"] == []
    assert json.loads(run.stdout)["faults"] > 0
    assert png.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("seen", "is_explained"),
    [
        (Seen("bytes", OK, 5, 0.1), True),
        (Seen("bytes", "platform-unreachable", 5, 0.1), False),
        (Seen("bytes", "platform-unreachable", 10.5, 0.1), True),
        (Seen("bytes", "platform-unreachable", 9.5, 1), True),
        (Seen("bytes", "platform-unreachable", 12 + FAULT.felt + 1, 0.1), False),
        (Seen("bytes", "internal", 10.5, 0.1), False),
        (Seen("redirect", "platform-unreachable", 10.5, 0.1), False),
        (Seen("bytes", "platform-unreachable", 10.5, BUDGETS["bytes"]), False),
    ],
)
def test_an_error_that_was_not_injected_is_found(seen, is_explained):
    assert (a_soak(seen).findings() == []) == is_explained


@pytest.mark.parametrize(
    "left",
    [
        Held(("one", "two"), 10, HELD.resident),
        Held(("one",), 11, HELD.resident),
    ],
)
def test_what_is_left_behind_is_found(left):
    soak = a_soak()
    soak.after = left

    assert "left behind" in soak.findings()[0]


@pytest.mark.parametrize(("bytes_a_second", "is_found"), [(0, False), (1_000_000, True)])
def test_memory_that_grows_is_found(bytes_a_second, is_found):
    soak = a_soak()
    soak.all_seen_at = 30
    soak.samples = [
        Sample(n, Held(("one",), 10, HELD.resident + n * bytes_a_second)) for n in range(200)
    ]

    assert (soak.growth() > 30_000_000) == is_found  # the first thirty do not count
    assert any("memory grew" in finding for finding in soak.findings()) == is_found


def test_an_error_in_the_log_is_found():
    soak = a_soak()
    soak.errors = ["what a library says"]

    assert soak.findings() == ["the log says: what a library says"]
