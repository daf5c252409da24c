"""The cost of any playlist is bounded, relative to the cost of an ordinary playlist."""

import re

from support import run_module

from fuzz.playlist_cost import HOSTILE

MAX_RATIO = 6  # to an ordinary playlist of the largest size; quadratic parsing costs 25 times more
MIN_SLICES = 20  # a longest slice of 5 ms is a hundredth of what an ordinary playlist costs
MAX_MEMORY_MIB = 100


def test_no_playlist_costs_much_more_than_an_ordinary_one_of_the_largest_size():
    run = run_module("fuzz.playlist_cost", "--small", "1000", "--large", "1")

    assert run.returncode == 0, run.stderr
    small = [float(ms) for ms in re.findall(r"^small: .*: (.*) ms$", run.stdout, re.MULTILINE)]
    large = re.findall(r"^large: .*: (.*) ms$", run.stdout, re.MULTILINE)
    found = re.findall(
        r"^([^:\n]+): (\d+) ms, longest slice (.*) ms, (\d+) MiB$", run.stdout, re.MULTILINE
    )
    costs = {name: total for name, total, _, _ in found}
    assert (len(small), len(large), set(costs)) == (3, 1, set(HOSTILE))
    ordinary = float(costs.pop("ordinary"))
    assert max(small) < ordinary / 2
    assert {name for name, cost in costs.items() if float(cost) > MAX_RATIO * ordinary} == set()
    assert float(large[0]) < MAX_RATIO * ordinary
    slices = {name: float(longest) for name, _, longest, _ in found}
    assert {name for name, longest in slices.items() if longest > ordinary / MIN_SLICES} == set()
    memory = re.findall(r"^(.*:|.*,) (\d+) MiB$", run.stdout, re.MULTILINE)
    assert len(memory) == 2 + len(HOSTILE)
    assert [line for line, mib in memory if int(mib) >= MAX_MEMORY_MIB] == []
