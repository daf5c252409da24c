"""make bench: every row has a figure on any machine."""

import json
import os
import shutil

import pytest
from support import run_module, skip_or_fail

from bench.rows import LOADS, ROWS, Row

SHORT = ("--rounds", "1", "--seconds", "1", "--viewers", "5000", "10000")


def test_a_run_prints_every_row_as_json():
    for program in ("wrk", "nginx"):
        if shutil.which(program) is None and shutil.which(program, path="/usr/sbin") is None:
            skip_or_fail(f"{program} is not installed")
    if len(os.sched_getaffinity(0)) < 2:
        skip_or_fail("make bench needs two cores")
    run = run_module("bench", *SHORT)
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


def test_every_compared_load_is_measured():
    others = {"cold edge", "cold one call", "live bounds"}

    assert {name for row in ROWS for name in (row.measured, row.baseline)} == {*LOADS, *others}


@pytest.mark.parametrize(
    ("target", "ratio", "is_met"),
    [("<= 1.4", 1.4, True), ("<= 1.4", 1.41, False), (">= 10", 9.9, False), ("", 5, None)],
)
def test_a_target_is_met_on_its_side_of_the_bound(target, ratio, is_met):
    assert Row("", "cpu", "", "", target).is_met(ratio) is is_met
