"""deploy/grafana: Prometheus returns data for every query of the dashboard."""

import json
import re
from math import isnan

import pytest
import yaml
from dashboard import DASHBOARD, Query, read_annotations, read_rows
from monitoring_stack import run_monitored_edge
from prometheus_server import DEPLOYED
from promql import find_unknown_metrics, labels_by_metric
from support import ROOT, wait_until
from traffic import BAD_DAY

GRAFANA = ROOT / "deploy" / "grafana"
INTERVAL = "15s"


def test_panels_have_unique_ids_and_do_not_overlap():
    panels = json.loads(DASHBOARD.read_text())["panels"]
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]

    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len(cells) == len(set(cells)), "two panels overlap"
    assert max(x for x, _ in cells) < 24
    for path in GRAFANA.glob("provisioning/*/*.yml"):
        assert yaml.safe_load(path.read_text())["apiVersion"] == 1


def test_every_panel_named_in_the_runbook_exists():
    named = re.findall(r"\(?\*([A-Z0-9][^*\n]+)\*", (ROOT / "docs" / "operations.md").read_text())
    rows = read_rows(INTERVAL)
    titles = [*(row.title for row in rows), *(panel.title for row in rows for panel in row.panels)]
    variables = ["Job", "Instance"]

    assert len(named) > 8
    assert [
        name for name in named if not any(title.startswith(name) for title in titles + variables)
    ] == []


@pytest.mark.smoke
async def test_every_query_returns_data_under_load(component, tmp_path):
    """Use a real Prometheus, and an edge with all kinds of players."""
    panels = [panel for row in read_rows(INTERVAL) for panel in row.panels]
    queries = [query for panel in panels for query in panel.queries]
    queries += read_annotations(INTERVAL)
    async with run_monitored_edge(component, tmp_path, in_haste=True, day=BAD_DAY) as monitored:

        async def find_queries_without_data() -> list[Query]:
            return [
                query
                for query in queries
                if not any(
                    not isnan(value) and find_labels(query) <= set(series)
                    for series, value in await monitored.prometheus.query(query.expression)
                )
            ]

        async def have_all_queries_data() -> bool:
            return await find_queries_without_data() == []

        try:
            await wait_until(have_all_queries_data, seconds=90)
        except TimeoutError:
            assert await find_queries_without_data() == []
        known = labels_by_metric(await monitored.metrics())
    recorded = set(
        re.findall(r"record: (\S+)", "".join(p.read_text() for p in DEPLOYED.glob("*.yml")))
    )
    recorded |= {"up", "ALERTS"}

    known["ALERTS"] = {"alertname", "alertstate"}
    assert [
        name
        for query in queries
        for name in find_unknown_metrics(query.expression, known, recorded)
    ] == []


def find_labels(query: Query) -> set[str]:
    return set(re.findall(r"\{\{(\w+)\}\}", query.legend))
