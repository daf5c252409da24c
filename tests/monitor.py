"""make monitor: sandbox, edge, players and a real Prometheus, and what the dashboard would show."""

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
from monitoring_stack import Monitored, a_monitored_edge
from prometheus_server import Series
from rich.console import Console
from rich.table import Table
from support import eventually
from traffic import GOOD_DAY

INTERVAL = "15s"
SETTLED = 15  # seconds: as long as the rates look back
FIRST = 90  # seconds at most, until there is something in every panel
SUFFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""))
UNITS = {"reqps": "/s", "Bps": "B/s", "bytes": "B", "short": "", "none": ""}
HOUR = 3600

WELCOME = """
  edge         {}
  Prometheus   {}
  break it     curl -X POST {} -d '{{"delay": 1.5}}'
               PlaygateLatencySlowBurn and …Fast fire within minutes; other faults: docs/sandbox.md
  mend it      curl -X DELETE {}
"""


def find(name: str) -> str:
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if path is None:
        sys.exit(f"{name} is not installed; on Debian: apt-get install prometheus redis-server")
    return path


def told(value: float, unit: str) -> str:
    """Return a value as a person reads it."""
    if isnan(value):
        return "none"
    if unit == "percentunit":
        return f"{value:.2%}"
    if unit == "s":
        return told_time(value)
    size, suffix = next((it for it in SUFFIXES if abs(value) >= it[0]), (1, ""))
    return f"{value / size:.4g} {suffix}{UNITS[unit]}".rstrip()


def told_time(seconds: float) -> str:
    if abs(seconds) < 1:
        return f"{seconds * 1000:.1f} ms"
    if abs(seconds) < HOUR:
        return f"{seconds:.1f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min"


def name_of(query: Query, labels: dict[str, str]) -> str:
    name = query.legend
    for label, value in labels.items():
        name = name.replace(f"{{{{{label}}}}}", value)
    return name


async def look(monitored: Monitored, panel: Panel) -> list[tuple[str, str]]:
    found: list[tuple[Query, Series]] = [
        (query, series)
        for query in panel.queries
        for series in await monitored.prometheus.query(query.expression)
    ]
    return sorted(
        (name_of(query, labels), told(value, panel.unit)) for query, (labels, value) in found
    )


async def show(monitored: Monitored, console: Console) -> None:
    """Print every panel, and every alert that fires."""
    for row in read_rows(INTERVAL):
        table = Table(title=row.title, title_justify="left", title_style="bold", expand=True)
        table.add_column("panel", ratio=2)
        table.add_column("now", ratio=3)
        for panel in row.panels:
            seen = await look(monitored, panel)
            values = "\n".join(f"{value:>12}  {name}" for name, value in seen) or "no data yet"
            table.add_row(panel.title, values)
        console.print(table)
    alerts = await monitored.prometheus.alerts()
    console.print("[bold]Alerts that fire")
    for alert in alerts:
        name, summary = alert["labels"]["alertname"], alert["annotations"]["summary"]
        console.print(f"  {name}: {summary}", highlight=False)
    if not alerts:
        console.print("  none")


async def run(*, every: float, once: bool) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    console = Console()
    with TemporaryDirectory(prefix="playgate-") as folder:
        console.print("Starting a sandbox, Redis, an edge, players and Prometheus …")
        async with a_monitored_edge(find, Path(folder), in_haste=False, day=GOOD_DAY) as monitored:
            edge = f"http://127.0.0.1:{monitored.edge.operator}/metrics"
            faults = f"{monitored.sandbox.origin}/__faults/video"
            prometheus = await monitored.prometheus.page_of_alerts()
            console.print(WELCOME.format(edge, prometheus, faults, faults), soft_wrap=True)
            await stopped_within(stop, SETTLED)
            with suppress(TimeoutError):
                await eventually(lambda: is_complete(monitored), seconds=FIRST)
            while not stop.is_set():
                await show(monitored, console)
                if once:
                    break
                console.print(
                    f"{datetime.now(UTC):%H:%M:%S} UTC, again in {every:g} s; Ctrl-C stops it."
                )
                await stopped_within(stop, every)


async def is_complete(monitored: Monitored) -> bool:
    """Say whether there is something to see in every panel."""
    queries = [query for row in read_rows(INTERVAL) for it in row.panels for query in it.queries]
    found = [await monitored.prometheus.query(query.expression) for query in queries]
    return all(found)


async def stopped_within(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=float, default=30, help="seconds between two looks [30]")
    parser.add_argument("--once", action="store_true", help="look once, and end")
    arguments = parser.parse_args()
    asyncio.run(run(every=arguments.every, once=arguments.once))


if __name__ == "__main__":
    main()
