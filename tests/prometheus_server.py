"""Run a real Prometheus with deploy/prometheus, scraping and evaluating each second.

With `in_haste`, an hour of the rules takes a minute, so that an alert fires within a test.
"""

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from ports import free_port
from processes import run_process
from support import ROOT, wait_until

DEPLOYED = ROOT / "deploy" / "prometheus"
SPEED_UP = 60  # factor of `in_haste`
MIN_WINDOW_SECONDS = 5  # a shorter window might contain no sample
SECONDS_BY_UNIT = {"m": 60, "h": 3600, "d": 86400}

Series = tuple[dict[str, str], float]


@dataclass(slots=True)
class Prometheus:
    """A running Prometheus and its query API."""

    port: int
    session: aiohttp.ClientSession

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def request(self, path: str, **parameters: str) -> Any:
        async with self.session.get(f"{self.origin}/api/v1/{path}", params=parameters) as response:
            body = await response.json()
        assert body["status"] == "success", body
        return body["data"]

    async def query(self, expression: str) -> list[Series]:
        """Return the labels and the value of each series of an instant query."""
        result = (await self.request("query", query=expression))["result"]
        return [(series["metric"], float(series["value"][1])) for series in result]

    async def find_firing_alerts(self) -> dict[str, set[str]]:
        """Return the jobs of the firing alerts, by the alert's name."""
        firing: dict[str, set[str]] = {}
        for alert in await self.list_firing_alerts():
            labels = alert["labels"]
            firing.setdefault(labels["alertname"], set()).add(labels.get("job", ""))
        return firing

    async def list_firing_alerts(self) -> list[Any]:
        """Return the firing alerts."""
        alerts = (await self.request("alerts"))["alerts"]
        return [alert for alert in alerts if alert["state"] == "firing"]

    async def find_alerts_page(self) -> str:
        """Return the URL of the alerts page; Debian's Prometheus has only the classic pages."""
        async with self.session.get(f"{self.origin}/alerts") as response:
            return f"{self.origin}{'/alerts' if response.ok else '/classic/alerts'}"

    async def is_scraping(self, instances: int) -> bool:
        return len(await self.query("up == 1")) == instances


def shorten_rules(text: str) -> str:
    """Return rules whose windows, `for` durations and ages are `SPEED_UP` times shorter."""

    def shorten(match: re.Match[str]) -> str:
        seconds = int(match["number"]) * SECONDS_BY_UNIT[match["unit"]]
        return f"{match['before']}{max(seconds // SPEED_UP, MIN_WINDOW_SECONDS)}s"

    number = r"(?P<number>\d+)(?P<unit>[mhd])\b"
    text = re.sub(rf"(?P<before>\[|offset ){number}", shorten, text)
    text = re.sub(r"for: \d+m", "for: 1s", text)
    # Ages in seconds: of the access token, the revocations and the keys of issuers.
    text = re.sub(
        r"(?P<before>seconds(?: - time\(\))? [<>] )(?P<age>\d{2,})\b",
        lambda match: f"{match['before']}{max(int(match['age']) // SPEED_UP, MIN_WINDOW_SECONDS)}",
        text,
    )
    # Counts of events: a rate times the seconds of its window.
    return re.sub(
        r"(?P<before>\* )(?P<window>\d+)(?= >=)",
        lambda match: (
            f"{match['before']}{max(int(match['window']) // SPEED_UP, MIN_WINDOW_SECONDS)}"
        ),
        text,
    )


def write_config(folder: Path, jobs: Mapping[str, list[str]], *, in_haste: bool) -> Path:
    """Write the deployed configuration with these targets, by job; return its path."""
    main = (DEPLOYED / "prometheus.yml").read_text()
    job_entry = re.search(
        r"  - job_name: playgate\b.*\n    file_sd_configs:\n      - files: .*\n", main
    )
    assert job_entry is not None
    main = main.replace(
        job_entry[0],
        "".join(
            job_entry[0].replace("playgate", job, 1).replace("targets.yml", f"{job}.yml")
            for job in jobs
        ),
    )
    for job, targets in jobs.items():
        (folder / f"{job}.yml").write_text(json.dumps([{"targets": targets}]))
    assert main.count("_interval: 15s") == 2
    (folder / "prometheus.yml").write_text(main.replace("_interval: 15s", "_interval: 1s"))
    for rules in DEPLOYED.glob("*.rules.yml"):
        text = re.sub(r"interval: \d+m", "interval: 1s", rules.read_text())
        (folder / rules.name).write_text(shorten_rules(text) if in_haste else text)
    return folder / "prometheus.yml"


@asynccontextmanager
async def run_prometheus(
    program: str, folder: Path, jobs: Mapping[str, list[str]], *, in_haste: bool = True
) -> AsyncIterator[Prometheus]:
    """Run a Prometheus that scrapes these targets, by job; wait until all of them are up."""
    port, config = free_port(), write_config(folder, jobs, in_haste=in_haste)
    options = {
        "config.file": config,
        "storage.tsdb.path": folder / "data",
        "web.listen-address": f"127.0.0.1:{port}",
        "log.level": "warn",
    }
    command = [program, *(f"--{name}={value}" for name, value in options.items())]
    async with run_process(*command) as process, aiohttp.ClientSession() as session:
        prometheus = Prometheus(port, session)

        async def is_scraping_all() -> bool:
            assert process.process.returncode is None, process.output
            try:
                return await prometheus.is_scraping(sum(map(len, jobs.values())))
            except (aiohttp.ClientError, AssertionError):  # not listening, or not ready yet
                return False

        await wait_until(is_scraping_all, seconds=120)
        yield prometheus
