"""Read the queries of deploy/grafana/playgate.json as Grafana would send them."""

import json
from dataclasses import dataclass

from support import ROOT

DASHBOARD = ROOT / "deploy" / "grafana" / "playgate.json"


@dataclass(frozen=True, slots=True)
class Query:
    expression: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    title: str
    unit: str
    queries: tuple[Query, ...]


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    panels: tuple[Panel, ...]


def read_rows(interval: str) -> list[Row]:
    """Return the dashboard's rows for all jobs and instances, with `interval` as rate window."""
    rows: list[tuple[str, list[Panel]]] = []
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        if panel["type"] == "row":
            rows.append((panel["title"], []))
            continue
        queries = tuple(
            Query(fill_variables(target["expr"], interval), target["legendFormat"])
            for target in panel["targets"]
        )
        unit = panel["fieldConfig"]["defaults"]["unit"]
        rows[-1][1].append(Panel(panel["title"], unit, queries))
    return [Row(title, tuple(panels)) for title, panels in rows]


def read_annotations(interval: str) -> list[Query]:
    """Return the queries of the annotations, which mark moments in every panel."""
    annotations = json.loads(DASHBOARD.read_text())["annotations"]["list"]
    return [
        Query(fill_variables(annotation["expr"], interval), annotation["titleFormat"])
        for annotation in annotations
    ]


def fill_variables(expression: str, interval: str) -> str:
    """Return a query with the values of Grafana's variables."""
    variables = {"$__rate_interval": interval, "$instance": ".*", "$job": ".*"}
    for name, value in variables.items():
        expression = expression.replace(name, value)
    assert "$" not in expression, expression
    return expression
