"""Compare the metrics, labels and values in a PromQL expression with those of an edge."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import promql_parser
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

FROM_PROMETHEUS = {"job", "instance", "le"}  # labels that are not checked


def iterate_selectors(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Yield the name and the matched labels of each selector in an expression."""
    for node in iterate_nodes(promql_parser.parse(expression)):
        if isinstance(node, promql_parser.VectorSelector):
            yield node.name, {matcher.name for matcher in node.matchers.matchers}


def iterate_groupings(expression: str) -> Iterator[tuple[set[str], set[str]]]:
    """Yield the labels of each `by` or `without`, and the names of the metrics it aggregates."""
    for node in iterate_nodes(promql_parser.parse(expression)):
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            metrics = {
                child.name
                for child in iterate_nodes(node.expr)
                if isinstance(child, promql_parser.VectorSelector)
            }
            yield set(node.modifier.labels), metrics


def iterate_nodes(node: Any) -> Iterator[Any]:
    """Yield a node of a parsed expression and all nodes below it."""
    yield node
    children = [getattr(node, name, None) for name in ("lhs", "rhs", "expr", "vector_selector")]
    for child in [*children, *(getattr(node, "args", None) or [])]:
        if child is not None:
            yield from iterate_nodes(child)


def values_by_label(text: str) -> dict[tuple[str, str], set[str]]:
    """Return the values of each label on an edge, by metric and label."""
    values: dict[tuple[str, str], set[str]] = {}
    for sample in iterate_samples(text):
        for label, value in sample.labels.items():
            values.setdefault((sample.name, label), set()).add(value)
    return values


def iterate_samples(text: str) -> Iterator[Sample]:
    """Yield the samples of a response of `/metrics`."""
    for family in text_string_to_metric_families(text):
        yield from family.samples


def find_unknown_values(
    expression: str, known: Mapping[tuple[str, str], set[str]]
) -> list[tuple[str, str, str]]:
    """Return the (metric, label, value) of each matched or excluded value that no series has."""
    return [
        (node.name, matcher.name, value)
        for node in iterate_nodes(promql_parser.parse(expression))
        if isinstance(node, promql_parser.VectorSelector)
        for matcher in node.matchers.matchers
        if (node.name, matcher.name) in known and matcher.name not in FROM_PROMETHEUS
        for value in matcher.value.split("|")
        if not any(
            re.fullmatch(value, label_value) for label_value in known[node.name, matcher.name]
        )
    ]


def labels_by_metric(text: str) -> dict[str, set[str]]:
    """Return the label names of each metric in a response of `/metrics`."""
    labels: dict[str, set[str]] = {}
    for sample in iterate_samples(text):
        labels.setdefault(sample.name, set()).update(sample.labels)
    return labels


def find_unknown_metrics(
    expression: str, known: Mapping[str, set[str]], recorded: set[str]
) -> list[str]:
    """Return the metrics and labels of an expression that neither edge nor rules provide."""
    unknown = []
    for name, labels in iterate_selectors(expression):
        if name not in known and name not in recorded:
            unknown.append(name)
        elif name in known:
            unknown += [f"{name}.{label}" for label in labels - known[name] - FROM_PROMETHEUS]
    for labels, names in iterate_groupings(expression):
        for name in names & set(known):
            unknown += [f"{name}.{label}" for label in labels - known[name] - FROM_PROMETHEUS]
    return unknown
