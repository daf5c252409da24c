"""No untrusted input makes a parser fail or break its promises."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import run_module, skip_or_fail

from fuzz.rows import ROWS
from fuzz.targets import TARGETS

SECONDS = 3  # of coverage-guided fuzzing per target


def splice(seed: bytes, cuts: list[tuple[int, int, bytes]]) -> bytes:
    """Return the bytes with replacements, each a position, a length and the new bytes."""
    for position, length, piece in cuts:
        start = position % (len(seed) + 1)
        seed = seed[:start] + piece + seed[start + length :]
    return seed


PIECES = st.binary(max_size=6) | st.sampled_from(
    [b'"', b"\\", b"\r\n", b"%2f", b"../", b"null", b"-1", b"1e999", b"[", b"{", b"\x00", b"#EXT"]
)
CUTS = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 8), PIECES), max_size=6)


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_keeps_its_promises_for_any_bytes(name):
    target, seeds = TARGETS[name]

    @settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.binary(max_size=400) | st.builds(splice, st.sampled_from(seeds), CUTS))
    def run_target(data: bytes) -> None:
        target(data)

    run_target()


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_keeps_its_promises_for_its_seeds(name):
    target, seeds = TARGETS[name]
    for seed in seeds:
        target(seed)


@pytest.mark.parametrize(("name", "data"), ROWS)
def test_an_earlier_finding_stays_fixed(name, data):
    TARGETS[name][0](data)


@pytest.fixture
def atheris():
    if find_spec("atheris") is None:
        skip_or_fail("atheris is not installed; it supports only Linux on x86-64")


def test_coverage_guided_fuzzing_finds_nothing(atheris):
    run = run_module("fuzz", "--seconds", str(SECONDS), "--seed", "1")

    assert run.returncode == 0, run.stdout + run.stderr
    assert [line.split(":")[0] for line in run.stdout.splitlines()] == list(TARGETS)


BROKEN_TARGETS = """
def network(data):
    1 // (data[:2] != b"9.")

TARGETS = {"network": (network, (b"8.8.4.4",))}
"""


def test_a_finding_is_printed_with_its_bytes(tmp_path, atheris):
    """The fuzzer finds a planted bug and prints the input that triggers it."""
    copy = shutil.copytree(Path(__file__).parent, tmp_path / "fuzz")
    (copy / "targets.py").write_text(BROKEN_TARGETS)
    run = subprocess.run(
        [sys.executable, "-m", "fuzz", "--seconds", "60"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        check=False,
        timeout=100,
    )

    assert run.returncode == 1
    assert "ZeroDivisionError" in run.stdout
    assert "('network', b'9." in run.stdout
