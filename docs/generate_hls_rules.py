"""Write docs/hls-rules.md from docs/hls_requirements.txt and the table of rules.

`make docs` runs this. A test fails if the page is stale, or if a rule belongs to no requirement.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from proxy.hls.lint.rules import RULES

FOLDER = Path(__file__).parent
INTRODUCTION = """\
# HLS rules

`make docs` writes this page. The first table lists the requirements of RFC 8216bis (draft-22) on
playlists, in our own words, and the rules that check them. *Not checkable*: playlists alone do not
show it. The second table lists all rules; section `hls` marks rules that are no requirement of the
specification. For each rule about a single playlist, `tests/hls/test_rules.py` has a playlist that
violates it. [HLS playlists](hls.md) describes when they are checked.

## Requirements

| section | requirement | checked by |
|---|---|---|
"""


class Requirement(NamedTuple):
    """A requirement, and the rules that check it or the reason why none does."""

    section: str
    text: str
    rules: tuple[str, ...]
    reason: str


def read_requirements() -> Iterator[Requirement]:
    """Yield the requirements in docs/hls_requirements.txt."""
    for line in (FOLDER / "hls_requirements.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        section, text, how = line.split(" | ")
        if how.startswith("elsewhere: "):
            reason = how.removeprefix("elsewhere: ")
            yield Requirement(section, text, (), f"not checkable: {reason}")
        else:
            yield Requirement(section, text, tuple(how.split(", ")), "")


def build_page() -> str:
    """Return the text of docs/hls-rules.md."""
    lines = [INTRODUCTION.rstrip("\n")]
    for section, text, rules, reason in read_requirements():
        checked = reason or ", ".join(f"`{rule}`" for rule in rules)
        lines.append(f"| {section} | {text} | {checked} |")
    lines += ["", "## Rules", "", "| rule | severity | section | message |", "|---|---|---|---|"]
    for rule in sorted(RULES.values(), key=lambda rule: rule.id):
        message = rule.message.replace("|", "\\|")
        lines.append(f"| `{rule.id}` | {rule.severity} | {rule.section} | {message} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (FOLDER / "hls-rules.md").write_text(build_page())
