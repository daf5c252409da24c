"""make monitor: run sandbox, edge, players and Prometheus; print the dashboard's panels."""

import argparse
import asyncio
import shutil
import signal
import sys
from contextlib import suppress
from datetime import UTC, datetime
from math import isnan
from pathlib import Path
from tempfile import TemporaryDirectory

from dashboard import Panel, Query, read_rows
from monitoring_stack import Monitored, run_monitored_edge
from prometheus_server import Series
from rich.console import Console
from rich.table import Table
from support import wait_until
from traffic import GOOD_DAY

INTERVAL = "15s"
RATE_WINDOW_SECONDS = 15  # the same as INTERVAL
MAX_FIRST_DATA_SECONDS = 90  # until every panel has data
SUFFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""))
UNITS = {"reqps": "/s", "Bps": "B/s", "bytes": "B", "short": "", "none": ""}
HOUR_SECONDS = 3600

WELCOME = """
  edge         {}
  Prometheus   {}
  break it     curl -X POST {} -d '{{"delay": 1.5}}'
               PlaygateLatencySlowBurn and PlaygateLatencyFastBurn fire within minutes; other faults: docs/sandbox.md
  repair it    curl -X DELETE {}
"""


def find(name: str) -> str:
    """Return the path of a program; exit with a hint if it is not installed."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if path is None:
        sys.exit(f"{name} is not installed; on Debian: apt-get install prometheus redis-server")
    return path


def format_value(value: float, unit: str) -> str:
    """Return a value with its unit, in a form for people."""
    if isnan(value):
        return "none"
    if unit == "percentunit":
        return f"{value:.2%}"
    if unit == "s":
        return format_time(value)
    size, suffix = next((step for step in SUFFIXES if abs(value) >= step[0]), (1, ""))
    return f"{value / size:.4g} {suffix}{UNITS[unit]}".rstrip()


def format_time(seconds: float) -> str:
    if abs(seconds) < 1:
        return f"{seconds * 1000:.1f} ms"
    if abs(seconds) < HOUR_SECONDS:
        return f"{seconds:.1f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min"


def fill_legend(query: Query, labels: dict[str, str]) -> str:
    name = query.legend
    for label, value in labels.items():
        name = name.replace(f"{{{{{label}}}}}", value)
    return name


async def query_panel(monitored: Monitored, panel: Panel) -> list[tuple[str, str]]:
    """Return the legend and the value of each series in a panel, sorted."""
    results: list[tuple[Query, Series]] = [
        (query, series)
        for query in panel.queries
        for series in await monitored.prometheus.query(query.expression)
    ]
    return sorted(
        (fill_legend(query, labels), format_value(value, panel.unit))
        for query, (labels, value) in results
    )


async def show(monitored: Monitored, console: Console) -> None:
    """Print every panel and every firing alert."""
    for row in read_rows(INTERVAL):
        table = Table(title=row.title, title_justify="left", title_style="bold", expand=True)
        table.add_column("panel", ratio=2)
        table.add_column("now", ratio=3)
        for panel in row.panels:
            series = await query_panel(monitored, panel)
            values = "\n".join(f"{value:>12}  {name}" for name, value in series) or "no data yet"
            table.add_row(panel.title, values)
        console.print(table)
    alerts = await monitored.prometheus.list_firing_alerts()
    console.print("[bold]Alerts that fire")
    for alert in alerts:
        name, summary = alert["labels"]["alertname"], alert["annotations"]["summary"]
        console.print(f"  {name}: {summary}", highlight=False)
    if not alerts:
        console.print("  none")


async def run(*, every: float, once: bool) -> None:
    """Run everything, and print the panels every `every` seconds until a signal arrives."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    console = Console()
    with TemporaryDirectory(prefix="playgate-") as folder:
        console.print("Starting a sandbox, Redis, an edge, players and Prometheus …")
        async with run_monitored_edge(
            find, Path(folder), in_haste=False, day=GOOD_DAY
        ) as monitored:
            edge = f"http://127.0.0.1:{monitored.edge.operator}/metrics"
            faults = f"{monitored.sandbox.origin}/__faults/video"
            prometheus = await monitored.prometheus.find_alerts_page()
            console.print(WELCOME.format(edge, prometheus, faults, faults), soft_wrap=True)
            await wait_for_stop(stop, RATE_WINDOW_SECONDS)
            with suppress(TimeoutError):
                await wait_until(lambda: is_complete(monitored), seconds=MAX_FIRST_DATA_SECONDS)
            while not stop.is_set():
                await show(monitored, console)
                if once:
                    break
                console.print(
                    f"{datetime.now(UTC):%H:%M:%S} UTC; next update in {every:g} s; Ctrl-C stops."
                )
                await wait_for_stop(stop, every)


async def is_complete(monitored: Monitored) -> bool:
    """Return whether every query of every panel has data."""
    queries = [
        query for row in read_rows(INTERVAL) for panel in row.panels for query in panel.queries
    ]
    results = [await monitored.prometheus.query(query.expression) for query in queries]
    return all(results)


async def wait_for_stop(stop: asyncio.Event, seconds: float) -> None:
    """Wait until `stop` is set, at most `seconds`."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=float, default=30, help="seconds between two updates [30]")
    parser.add_argument("--once", action="store_true", help="print the panels once, then exit")
    arguments = parser.parse_args()
    asyncio.run(run(every=arguments.every, once=arguments.once))


if __name__ == "__main__":
    main()
