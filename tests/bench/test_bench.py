"""make bench: every row of it has a figure, whatever the machine."""

import json
import os
import shutil

import pytest
from support import run_of, skip_or_fail

from bench.rows import LOADS, ROWS, Row

SHORT = ("--rounds", "1", "--seconds", "1", "--viewers", "5000", "10000")


def test_a_run_ends_with_every_row_as_json():
    for program in ("wrk", "nginx"):
        if shutil.which(program) is None and shutil.which(program, path="/usr/sbin") is None:
            skip_or_fail(f"{program} is not installed")
    if len(os.sched_getaffinity(0)) < 2:
        skip_or_fail("two cores are needed")
    run = run_of("bench", *SHORT)
    assert run.returncode == 0, run.stderr

    rows = json.loads(run.stdout.splitlines()[-1])["rows"]
    assert [row["name"] for row in rows][: len(ROWS)] == [row.name for row in ROWS]
    assert len(rows) == len(ROWS) + 2
    assert [set(row) for row in rows] == [{"name", "ratio", "low", "high", "target", "met"}] * len(
        rows
    )
    for row in rows:
        assert 0 < row["low"] <= row["ratio"] <= row["high"]
        assert (row["met"] is None) == (row["target"] is None)


def test_what_is_compared_is_measured():
    cold = {"cold edge", "cold one call"}

    assert {name for row in ROWS for name in (row.of, row.beside)} == {*LOADS, *cold}


@pytest.mark.parametrize(
    ("target", "ratio", "is_met"),
    [("<= 1.4", 1.4, True), ("<= 1.4", 1.41, False), (">= 10", 9.9, False), ("", 5, None)],
)
def test_a_target_says_which_way(target, ratio, is_met):
    assert Row("", "cpu", "", "", target).is_met(ratio) is is_met
