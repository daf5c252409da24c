"""make bench: what Playgate costs, as multiples of what less costs."""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from bench.load import Requests, Run, load
from bench.requests import all_requests
from bench.rows import LOADS, ROWS, Figure, Load, Row, memory_rows
from bench.servers import python, settle
from bench.stage import LOADED_FROM, Stage, seconds_to_first_play, staged
from bench.upstream import an_upstream

VIEWERS = (100_000, 1_000_000)
# What docs/operations.md says of `memory://` with everything that is remembered.
BOUND = 100_000_000  # bytes

Figures = dict[tuple[str, Figure], list[float]]


def find(name: str) -> str:
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if path is None:
        sys.exit(f"{name} is not installed; on Debian: apt-get install nginx-light wrk")
    return path


def run_loads(
    loads: Mapping[str, Load], stage: Stage, requests: dict[str, Requests], seconds: int
) -> Iterator[tuple[str, Run]]:
    """Run loads, once each."""
    for name, it in loads.items():
        settle(stage.servers.values())
        yield (
            name,
            load(
                stage.servers[it.server],
                requests[it.requests],
                core=LOADED_FROM,
                connections=it.connections,
                seconds=seconds,
            ),
        )


def measure(rounds: int, seconds: int, viewers: tuple[int, ...]) -> Figures:
    """Return the figures of all rounds, each load once a round."""
    figures: Figures = defaultdict(list)
    nginx = find("nginx")
    with TemporaryDirectory(prefix="playgate-bench-") as temporary:
        folder = Path(temporary)
        with (
            growth_beside(viewers) as growing,  # while the others come up
            an_upstream(nginx, folder, LOADED_FROM) as upstream,
            staged(nginx, folder, upstream) as stage,
        ):
            requests = all_requests(folder, upstream, stage.servers["edge"].port)
            note("warming up")
            each = {(it.server, it.requests): (name, it) for name, it in LOADS.items()}
            for _ in run_loads(dict(each.values()), stage, requests, 1):
                pass
            for count, grown in growth(growing):
                figures[f"grown by {count}", "bytes"].append(grown)
            for number in range(1, rounds + 1):
                note(f"round {number} of {rounds}")
                for load_name, run in run_loads(LOADS, stage, requests, seconds):
                    figures[load_name, "cpu"].append(run.cpu)
                    figures[load_name, "throughput"].append(run.throughput)
                    figures[load_name, "p99"].append(run.p99)
                for kind in ("edge", "one-call"):
                    cold = seconds_to_first_play(stage.environment, kind, folder / "cold.log")
                    figures[f"cold {kind.replace('-', ' ')}", "seconds"].append(cold)
    figures["bound", "bytes"].append(BOUND)
    return figures


def note(text: str) -> None:
    sys.stderr.write(f"{text}\n")


@contextmanager
def growth_beside(viewers: tuple[int, ...]) -> Iterator[subprocess.Popen[str]]:
    command = python("-m", "bench.memory", *map(str, viewers))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as growing:
        try:
            yield growing
        finally:
            growing.kill()  # it has ended, unless something else went wrong


def growth(growing: subprocess.Popen[str]) -> Iterator[tuple[int, int]]:
    """Wait until it has ended, and tell how much it grew by how many viewers."""
    output, _ = growing.communicate()
    if growing.returncode:
        sys.exit("the memory was not measured")
    for line in map(json.loads, output.splitlines()):
        yield line["viewers"], line["bytes"]


def compared(row: Row, figures: Figures) -> dict[str, object]:
    """Return a row's ratio: the middle one of all rounds, the lowest and the highest."""
    pairs = zip(figures[row.of, row.figure], figures[row.beside, row.figure], strict=True)
    ratios = [of / beside for of, beside in pairs]
    ratio = median(ratios)
    return {
        "name": row.name,
        "ratio": round(ratio, 3),
        "low": round(min(ratios), 3),
        "high": round(max(ratios), 3),
        "target": row.target or None,
        "met": row.is_met(ratio),
    }


def show(rows: list[dict[str, object]]) -> None:
    table = Table("", "ratio", "low", "high", "target", "met")
    for row in rows:
        met = {True: "yes", False: "NO", None: ""}[row["met"]]
        figures = (f"{row[name]:.2f}" for name in ("ratio", "low", "high"))
        table.add_row(str(row["name"]), *figures, row["target"] or "", met)
    console = Console(width=110)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each load runs")
    parser.add_argument("--seconds", type=int, default=2, help="how long each time")
    parser.add_argument("--viewers", type=int, nargs="+", default=VIEWERS, help="for the memory")
    options = parser.parse_args()
    find("wrk")
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("make bench needs two cores: one for the servers, one for the load")
    figures = measure(options.rounds, options.seconds, tuple(options.viewers))
    rows = [compared(row, figures) for row in (*ROWS, *memory_rows(options.viewers))]
    show(rows)
    sys.stdout.write(json.dumps({"rows": rows}, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
