"""make bench: measure Playgate's cost relative to minimal baselines."""

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

from bench.load import Requests, Run, run_load
from bench.requests import write_all_requests
from bench.rows import (
    LIVE_VIEWERS,
    LOADS,
    MAX_P99_SECONDS,
    RELOAD_SECONDS,
    ROWS,
    Figure,
    Load,
    Row,
    memory_rows,
)
from bench.servers import build_python_command, wait_until_idle
from bench.stage import LOAD_CORE, Stage, measure_first_play, run_stage
from bench.upstream import run_upstream
from proxy.cli.serve import raise_descriptor_limit

VIEWERS = (100_000, 1_000_000)
# The bound that docs/operations.md gives for a full `memory://` state.
MEMORY_BOUND_BYTES = 100_000_000

Figures = dict[tuple[str, Figure], list[float]]


def find_program(name: str) -> str:
    """Return the path of a program; exit with a hint if it is not installed."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if path is None:
        sys.exit(f"{name} is not installed; on Debian: apt-get install nginx-light wrk")
    return path


def run_loads(
    loads: Mapping[str, Load], stage: Stage, requests: dict[str, Requests], seconds: int
) -> Iterator[tuple[str, Run]]:
    """Run each load once; yield its name and figures."""
    for name, load in loads.items():
        wait_until_idle(stage.servers.values())
        yield (
            name,
            run_load(
                stage.servers[load.server],
                requests[load.requests],
                core=LOAD_CORE,
                connections=load.connections,
                seconds=seconds,
                period=load.period,
            ),
        )


def measure(rounds: int, seconds: int, viewers: tuple[int, ...]) -> Figures:
    """Return the figures of all rounds; each round runs every load once."""
    figures: Figures = defaultdict(list)
    nginx = find_program("nginx")
    with TemporaryDirectory(prefix="playgate-bench-") as temporary:
        folder = Path(temporary)
        with (
            run_memory_process(viewers) as memory,  # while the servers start
            run_upstream(nginx, folder, LOAD_CORE) as upstream,
            run_stage(nginx, folder, upstream) as stage,
        ):
            requests = write_all_requests(folder, upstream, stage.servers["edge"].port)
            print_progress("warming up")
            distinct = {(load.server, load.requests): (name, load) for name, load in LOADS.items()}
            for _ in run_loads(dict(distinct.values()), stage, requests, 1):
                pass
            for count, growth in read_growth(memory):
                figures[f"grown by {count}", "bytes"].append(growth)
            for number in range(1, rounds + 1):
                print_progress(f"round {number} of {rounds}")
                for load_name, run in run_loads(LOADS, stage, requests, seconds):
                    figures[load_name, "cpu"].append(run.cpu)
                    figures[load_name, "throughput"].append(run.throughput)
                    figures[load_name, "p99"].append(run.p99)
                figures["live bounds", "throughput"].append(LIVE_VIEWERS / RELOAD_SECONDS)
                figures["live bounds", "p99"].append(MAX_P99_SECONDS * 1e6)
                for kind in ("edge", "one-call"):
                    seconds_to_play = measure_first_play(
                        stage.environment, kind, folder / "cold.log"
                    )
                    figures[f"cold {kind.replace('-', ' ')}", "seconds"].append(seconds_to_play)
    figures["bound", "bytes"].append(MEMORY_BOUND_BYTES)
    return figures


def print_progress(text: str) -> None:
    sys.stderr.write(f"{text}\n")


@contextmanager
def run_memory_process(viewers: tuple[int, ...]) -> Iterator[subprocess.Popen[str]]:
    """Run bench.memory in a process of its own."""
    command = build_python_command("-m", "bench.memory", *map(str, viewers))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()  # has no effect unless the benchmark failed


def read_growth(process: subprocess.Popen[str]) -> Iterator[tuple[int, int]]:
    """Wait until bench.memory has ended; yield each number of viewers and its growth in bytes."""
    output, _ = process.communicate()
    if process.returncode:
        sys.exit(f"bench.memory failed with exit code {process.returncode}")
    for line in map(json.loads, output.splitlines()):
        yield line["viewers"], line["bytes"]


def compare(row: Row, figures: Figures) -> dict[str, object]:
    """Return a row's ratio: the median of all rounds, the lowest and the highest."""
    measured, baseline = figures[row.measured, row.figure], figures[row.baseline, row.figure]
    ratios = [value / base for value, base in zip(measured, baseline, strict=True)]
    ratio = median(ratios)
    return {
        "name": row.name,
        "ratio": round(ratio, 3),
        "low": round(min(ratios), 3),
        "high": round(max(ratios), 3),
        "target": row.target or None,
        "met": row.is_met(ratio),
    }


def print_table(rows: list[dict[str, object]]) -> None:
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
    parser.add_argument("--seconds", type=int, default=2, help="how long each load runs")
    parser.add_argument(
        "--viewers",
        type=int,
        nargs="+",
        default=VIEWERS,
        help="numbers of viewers after which memory is measured",
    )
    options = parser.parse_args()
    find_program("wrk")
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("make bench needs two cores: one for the servers, one for the load")
    raise_descriptor_limit()
    figures = measure(options.rounds, options.seconds, tuple(options.viewers))
    rows = [compare(row, figures) for row in (*ROWS, *memory_rows(options.viewers))]
    print_table(rows)
    sys.stdout.write(json.dumps({"rows": rows}, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
