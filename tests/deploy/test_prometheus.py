"""deploy/prometheus: the rules are valid and use existing metrics; alerts are tested and explained."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_server import DEPLOYED, shorten_rules
from promql import find_unknown_metrics, find_unknown_values, labels_by_metric, values_by_label
from support import ROOT, run_test_edge

TESTS = sorted(Path(__file__).parent.glob("*.test.yml"))
RULES = sorted(DEPLOYED.glob("*.rules.yml"))


def list_rules(path):
    groups = yaml.safe_load(path.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in list_rules(DEPLOYED / "alerts.rules.yml")}


def run_promtool(component, *arguments):
    ran = subprocess.run(
        [component("promtool"), *arguments], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_the_prometheus_configuration_is_valid(component):
    run_promtool(component, "check", "config", "--lint=all", DEPLOYED / "prometheus.yml")


def test_each_alert_fires_exactly_in_the_expected_scenarios(component):
    run_promtool(component, "test", "rules", *TESTS)


def test_each_alert_has_a_firing_and_a_silent_scenario():
    cases = [
        case
        for path in TESTS
        for test in yaml.safe_load(path.read_text())["tests"]
        for case in test["alert_rule_test"]
    ]

    assert {case["alertname"] for case in cases if case["exp_alerts"]} == set(ALERTS)
    assert {case["alertname"] for case in cases if not case["exp_alerts"]} == set(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_each_alert_has_a_runbook_section(name):
    operations = (ROOT / "docs" / "operations.md").read_text()
    (paragraph,) = re.findall(
        rf"^### {name}\n\n(.+?)(?=\n#|\Z)", operations, re.DOTALL | re.MULTILINE
    )

    assert ALERTS[name]["annotations"]["runbook_url"] == f"docs/operations.md#{name.lower()}"
    assert ALERTS[name]["labels"]["severity"] in {"page", "ticket"}
    assert len(paragraph.split()) > 20


async def test_every_metric_and_label_in_the_rules_exists(sandbox, server):
    issuer = {"issuer": "https://login.example.com", "jwks_url": "http://127.0.0.1:1/jwks.json"}
    tables = {"state": {"url": server.url}, "tokens": {"issuers": [issuer]}}
    async with run_test_edge(sandbox, **tables) as edge:
        await edge.play()
        text = (await edge.get(f"{edge.operator}/metrics")).body.decode()
    known, values = labels_by_metric(text), values_by_label(text)
    rules = [rule for path in RULES for rule in list_rules(path)]
    recorded = {rule["record"] for rule in rules if "record" in rule} | {"up"}

    assert [
        name for rule in rules for name in find_unknown_metrics(rule["expr"], known, recorded)
    ] == []
    missing = {value for rule in rules for value in find_unknown_values(rule["expr"], values)}
    # This edge fetched no playlist; all other series exist from the start.
    missing -= {(name, "operation", "playlist") for name, _, _ in missing}
    assert missing == set()


def test_the_rules_of_every_window_are_the_same():
    """Prometheus has no loops, so the rules are repeated for each window."""
    text = (DEPLOYED / "slo.rules.yml").read_text()
    windows = re.findall(r"record: playgate:slo_events:rate(\w+)\n.*\n.*plays_total", text)
    blocks = {
        window: block.replace(f"rate{window}", "rate").replace(f"[{window}]", "[]")
        for window in windows
        for block in re.findall(
            rf"      - record: playgate:slo_events:rate{window}\n(?:.+\n)+", text
        )
    }

    assert windows == ["5m", "30m", "1h", "2h", "6h", "1d", "3d", "30d"]
    budget = blocks.pop("30d")
    assert len(set(blocks.values())) == 1
    assert budget.startswith(blocks["5m"].partition("      - record: playgate:slo_burn")[0])


def test_shortened_rules_have_no_long_window_age_or_count():
    """Otherwise, the tests with a real Prometheus would take hours."""
    for path in RULES:
        text = shorten_rules(path.read_text())
        assert (
            max(map(int, re.findall(r"seconds.* [<>] (\d+)$", text, re.MULTILINE)), default=0) <= 60
        )
        assert max(map(int, re.findall(r"\* (\d+) >=", text)), default=0) <= 1440
        assert re.search(r"\[\d+[mhd]\]|offset \d+[mhd]|for: \d+m", text) is None
