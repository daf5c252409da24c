"""docs/threat-model.md: whatever holds a threat exists under the name that is given."""

import re

import pytest
from support import ROOT

MODEL = (ROOT / "docs" / "threat-model.md").read_text()
ROWS = re.findall(r"^\| (.+) \| (`[^|]+::[^|]+) \|$", MODEL, re.MULTILINE)
NAMED = sorted({name for _, tests in ROWS for name in re.findall(r"`([^`]+::[^`]+)`", tests)})


@pytest.mark.parametrize("name", NAMED)
def test_a_test_that_is_named_exists(name):
    path, _, function = name.partition("::")

    assert re.search(
        rf"^ *(async )?def {function}\(", (ROOT / "tests" / path).read_text(), re.MULTILINE
    )


def test_every_case_of_every_threat_has_one():
    threats = MODEL.partition("## Threats")[2].partition("## Not covered")[0]
    cases = re.findall(r"^\| (?!case|---)", threats, re.MULTILINE)

    assert len(cases) == len(ROWS) > 60
