"""The output of playgate inspect: findings with their lines, or JSON."""

import re
from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape

from proxy.cli import options
from proxy.edge.video_inspector import InspectedPlaylist
from proxy.hls.lexer import scan
from proxy.hls.lint.findings import Finding
from proxy.hls.lint.rules import RULES

SEVERITY_COLOURS = {"warning": "yellow", "error": "red", "unplayable": "bold red"}
MAX_SHOWN_LENGTH = 100  # characters of a playlist line
SIGNATURE = re.compile(r"(sec2?[=(])[A-Za-z0-9_%=-]{8,}")
SECTION_NUMBER = re.compile(r"\([0-9]+\.[0-9.]+\)")


def are_valid(playlists: list[InspectedPlaylist]) -> bool:
    """Return whether all playlists conform to the specification; warnings are allowed."""
    return all(
        finding.severity == "warning" for playlist in playlists for finding in playlist.findings
    )


def build_summary(source: str, playlists: list[InspectedPlaylist]) -> dict[str, object]:
    """Build the JSON object for one input."""
    return {
        "input": source,
        "kind": playlists[0].kind,
        "verdict": "ok" if are_valid(playlists) else "invalid",
        "findings": [
            {
                "rule": finding.rule,
                "line": finding.line,
                "severity": finding.severity,
                "message": f"{playlist.name}: {finding.message}"
                if playlist.name
                else finding.message,
            }
            for playlist in playlists
            for finding in playlist.findings
        ],
    }


def print_report(source: str, playlists: list[InspectedPlaylist]) -> None:
    """Print the findings of one input, each with its line of the playlist."""
    console = Console(highlight=False, soft_wrap=True)
    word = "[green]ok[/]" if are_valid(playlists) else "[red]invalid[/]"
    console.print(f"[bold]{escape(source)}[/]  {playlists[0].kind or 'not a playlist'}  {word}")
    for playlist in playlists:
        if playlist.name:
            mark = "[green]ok[/]" if are_valid([playlist]) else "[red]invalid[/]"
            console.print(f"  [bold]{escape(to_printable(playlist.name))}[/]  {mark}")
        lines = [line.text for line in scan(playlist.text)]
        for finding in playlist.findings:
            for text in format_finding(finding, lines):
                console.print(text)
    console.print()


def format_finding(finding: Finding, lines: list[str]) -> Iterator[str]:
    """Yield the lines of output for a finding: the message, and the line of the playlist."""
    colour = SEVERITY_COLOURS[finding.severity]
    section = RULES[finding.rule].section
    has_section = section == "hls" or SECTION_NUMBER.search(finding.message) is not None
    reference = finding.rule if has_section else f"({section})  {finding.rule}"
    yield f"    [{colour}]{finding.severity:<10}[/] {escape(finding.message)}  [dim]{reference}[/]"
    if finding.line is not None and finding.line <= len(lines):
        yield f"    [dim]{finding.line:>10} │ {escape(to_printable(lines[finding.line - 1]))}[/]"


def to_printable(text: str) -> str:
    """Make a playlist line safe to print: shortened, without escapes and URL signatures."""
    text = SIGNATURE.sub(r"\1…", text)
    text = text if len(text) <= MAX_SHOWN_LENGTH else f"{text[:MAX_SHOWN_LENGTH]}…"
    return options.to_printable(text)
