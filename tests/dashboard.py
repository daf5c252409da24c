"""deploy/grafana/playgate.json, as Grafana would ask its questions."""

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
    """Return the rows, asking about everything, with an interval in place of Grafana's own."""
    rows: list[tuple[str, list[Panel]]] = []
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        if panel["type"] == "row":
            rows.append((panel["title"], []))
            continue
        queries = tuple(
            Query(filled(target["expr"], interval), target["legendFormat"])
            for target in panel["targets"]
        )
        unit = panel["fieldConfig"]["defaults"]["unit"]
        rows[-1][1].append(Panel(panel["title"], unit, queries))
    return [Row(title, tuple(panels)) for title, panels in rows]


def read_annotations(interval: str) -> list[Query]:
    """Return what marks moments in every panel."""
    annotations = json.loads(DASHBOARD.read_text())["annotations"]["list"]
    return [Query(filled(it["expr"], interval), it["titleFormat"]) for it in annotations]


def filled(expression: str, interval: str) -> str:
    """Return a query with Grafana's variables filled in."""
    filling = {"$__rate_interval": interval, "$instance": ".*", "$job": ".*"}
    for name, value in filling.items():
        expression = expression.replace(name, value)
    assert "$" not in expression, expression
    return expression
