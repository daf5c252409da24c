"""What a PromQL expression asks for, and what an edge has."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import promql_parser
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

FROM_PROMETHEUS = {"job", "instance", "le"}  # labels that no edge gives by itself


def selectors_of(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Yield each metric's name with the labels that it is chosen by."""
    for node in nodes_of(promql_parser.parse(expression)):
        if isinstance(node, promql_parser.VectorSelector):
            yield node.name, {matcher.name for matcher in node.matchers.matchers}


def groupings_of(expression: str) -> Iterator[tuple[set[str], set[str]]]:
    """Yield the labels of each `by`, `without`, with the names of the metrics below it."""
    for node in nodes_of(promql_parser.parse(expression)):
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            below = {
                it.name
                for it in nodes_of(node.expr)
                if isinstance(it, promql_parser.VectorSelector)
            }
            yield set(node.modifier.labels), below


def nodes_of(node: Any) -> Iterator[Any]:
    yield node
    below = [getattr(node, name, None) for name in ("lhs", "rhs", "expr", "vector_selector")]
    for child in [*below, *(getattr(node, "args", None) or [])]:
        if child is not None:
            yield from nodes_of(child)


def values_by_label(text: str) -> dict[tuple[str, str], set[str]]:
    """Return the values that each metric's labels have on an edge, by metric and label."""
    values: dict[tuple[str, str], set[str]] = {}
    for sample in samples_of(text):
        for label, value in sample.labels.items():
            values.setdefault((sample.name, label), set()).add(value)
    return values


def samples_of(text: str) -> Iterator[Sample]:
    for family in text_string_to_metric_families(text):
        yield from family.samples


def unknown_values_in(
    expression: str, known: Mapping[tuple[str, str], set[str]]
) -> list[tuple[str, str, str]]:
    """Return the values that an expression asks for, or leaves out, and no series has."""
    return [
        (node.name, matcher.name, value)
        for node in nodes_of(promql_parser.parse(expression))
        if isinstance(node, promql_parser.VectorSelector)
        for matcher in node.matchers.matchers
        if (node.name, matcher.name) in known and matcher.name not in FROM_PROMETHEUS
        for value in matcher.value.split("|")
        if not any(re.fullmatch(value, it) for it in known[node.name, matcher.name])
    ]


def labels_by_metric(text: str) -> dict[str, set[str]]:
    """Return the labels of every metric that an edge shows, by the name in the text."""
    labels: dict[str, set[str]] = {}
    for sample in samples_of(text):
        labels.setdefault(sample.name, set()).update(sample.labels)
    return labels


def unknown_in(expression: str, known: Mapping[str, set[str]], recorded: set[str]) -> list[str]:
    """Return what an expression asks for and nobody has."""
    unknown = []
    for name, labels in selectors_of(expression):
        if name not in known and name not in recorded:
            unknown.append(name)
        elif name in known:
            unknown += [f"{name}.{label}" for label in labels - known[name] - FROM_PROMETHEUS]
    for labels, names in groupings_of(expression):
        for name in names & set(known):
            unknown += [f"{name}.{label}" for label in labels - known[name] - FROM_PROMETHEUS]
    return unknown
