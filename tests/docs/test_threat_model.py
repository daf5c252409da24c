"""docs/threat-model.md names an existing test for every case of every threat."""

import re

import pytest
from support import ROOT

MODEL = (ROOT / "docs" / "threat-model.md").read_text()
ROWS = re.findall(r"^\| (.+) \| (`[^|]+::[^|]+) \|$", MODEL, re.MULTILINE)
TEST_NAMES = sorted({name for _, tests in ROWS for name in re.findall(r"`([^`]+::[^`]+)`", tests)})


@pytest.mark.parametrize("name", TEST_NAMES)
def test_every_named_test_exists(name):
    path, _, function = name.partition("::")

    assert re.search(
        rf"^ *(async )?def {function}\(", (ROOT / "tests" / path).read_text(), re.MULTILINE
    )


def test_every_case_of_every_threat_names_a_test():
    threats = MODEL.partition("## Threats")[2].partition("## Not covered")[0]
    cases = re.findall(r"^\| (?!case|---)", threats, re.MULTILINE)

    assert len(cases) == len(ROWS) > 60
