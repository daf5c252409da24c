"""docs/hls-rules.md is generated from the requirements and the table of rules by `make docs`."""

from documentation import load_generator
from support import ROOT

from proxy.hls.lint.rules import RULES

generator = load_generator("generate_hls_rules")


def test_the_page_is_up_to_date():
    assert (ROOT / "docs" / "hls-rules.md").read_text() == generator.build_page(), "run make docs"


def test_every_rule_of_the_specification_checks_a_requirement():
    checking = {rule for requirement in generator.read_requirements() for rule in requirement.rules}

    assert checking <= set(RULES)
    assert {rule.id for rule in RULES.values() if rule.section != "hls"} <= checking
