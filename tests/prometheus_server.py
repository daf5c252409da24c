"""Real Prometheus with deploy/prometheus: with other addresses, each second, and in haste.

In haste, an hour of the rules is a minute, so that an alert is seen to fire within a test.
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
from processes import started
from support import ROOT, eventually

DEPLOYED = ROOT / "deploy" / "prometheus"
HASTE = 60  # times faster
SHORTEST = 5  # seconds that a window has at least, so that there is something in it
UNITS = {"m": 60, "h": 3600, "d": 86400}

Series = tuple[dict[str, str], float]


@dataclass(slots=True)
class Prometheus:
    port: int
    session: aiohttp.ClientSession

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def ask(self, path: str, **parameters: str) -> Any:
        async with self.session.get(f"{self.origin}/api/v1/{path}", params=parameters) as answer:
            body = await answer.json()
        assert body["status"] == "success", body
        return body["data"]

    async def query(self, expression: str) -> list[Series]:
        """Return every series of an instant query, and its value."""
        result = (await self.ask("query", query=expression))["result"]
        return [(it["metric"], float(it["value"][1])) for it in result]

    async def firing(self) -> dict[str, set[str]]:
        """Return the jobs that alerts fire for, by the alert's name."""
        firing: dict[str, set[str]] = {}
        for alert in await self.alerts():
            labels = alert["labels"]
            firing.setdefault(labels["alertname"], set()).add(labels.get("job", ""))
        return firing

    async def alerts(self) -> list[Any]:
        """Return every alert that fires."""
        return [it for it in (await self.ask("alerts"))["alerts"] if it["state"] == "firing"]

    async def page_of_alerts(self) -> str:
        """Return where people look at alerts; Debian's Prometheus has the classic pages only."""
        async with self.session.get(f"{self.origin}/alerts") as answer:
            return f"{self.origin}{'/alerts' if answer.ok else '/classic/alerts'}"

    async def is_scraping(self, instances: int) -> bool:
        return len(await self.query("up == 1")) == instances


def hastened(text: str) -> str:
    """Return rules whose windows, waits and ages are so many times shorter."""

    def shorter(match: re.Match[str]) -> str:
        seconds = int(match["number"]) * UNITS[match["unit"]]
        return f"{match['before']}{max(seconds // HASTE, SHORTEST)}s"

    number = r"(?P<number>\d+)(?P<unit>[mhd])\b"
    text = re.sub(rf"(?P<before>\[|offset ){number}", shorter, text)
    text = re.sub(r"for: \d+m", "for: 1s", text)
    # Ages in seconds: of the access token, of the revocations, of issuers' keys.
    text = re.sub(
        r"(?P<before>seconds(?: - time\(\))? [<>] )(?P<age>\d{2,})\b",
        lambda match: f"{match['before']}{max(int(match['age']) // HASTE, SHORTEST)}",
        text,
    )
    # How many there were: a rate, times the seconds of its window.
    return re.sub(
        r"(?P<before>\* )(?P<window>\d+)(?= >=)",
        lambda match: f"{match['before']}{max(int(match['window']) // HASTE, SHORTEST)}",
        text,
    )


def write_config(folder: Path, jobs: Mapping[str, list[str]], *, in_haste: bool) -> Path:
    """Write what is deployed, for these targets by job."""
    main = (DEPLOYED / "prometheus.yml").read_text()
    found = re.search(
        r"  - job_name: playgate\b.*\n    file_sd_configs:\n      - files: .*\n", main
    )
    assert found is not None
    main = main.replace(
        found[0],
        "".join(
            found[0].replace("playgate", job, 1).replace("targets.yml", f"{job}.yml")
            for job in jobs
        ),
    )
    for job, targets in jobs.items():
        (folder / f"{job}.yml").write_text(json.dumps([{"targets": targets}]))
    assert main.count("_interval: 15s") == 2
    (folder / "prometheus.yml").write_text(main.replace("_interval: 15s", "_interval: 1s"))
    for rules in DEPLOYED.glob("*.rules.yml"):
        text = re.sub(r"interval: \d+m", "interval: 1s", rules.read_text())
        (folder / rules.name).write_text(hastened(text) if in_haste else text)
    return folder / "prometheus.yml"


@asynccontextmanager
async def a_prometheus(
    program: str, folder: Path, jobs: Mapping[str, list[str]], *, in_haste: bool = True
) -> AsyncIterator[Prometheus]:
    """Run a Prometheus that scrapes these targets, by job."""
    port, config = free_port(), write_config(folder, jobs, in_haste=in_haste)
    options = {
        "config.file": config,
        "storage.tsdb.path": folder / "data",
        "web.listen-address": f"127.0.0.1:{port}",
        "log.level": "warn",
    }
    command = [program, *(f"--{name}={value}" for name, value in options.items())]
    async with started(*command) as process, aiohttp.ClientSession() as session:
        prometheus = Prometheus(port, session)

        async def is_at_work() -> bool:
            assert process.process.returncode is None, process.output
            try:
                return await prometheus.is_scraping(sum(map(len, jobs.values())))
            except (aiohttp.ClientError, AssertionError):  # not there yet, or not ready
                return False

        await eventually(is_at_work, seconds=120)
        yield prometheus
