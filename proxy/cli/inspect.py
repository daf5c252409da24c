"""playgate inspect: what is wrong with a playlist, or with all of a video's."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Annotated

import aiohttp
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from yarl import URL

from proxy.adapters.errors import CAUSES
from proxy.adapters.telemetry import build_telemetry
from proxy.cli import options
from proxy.cli.options import Config, run
from proxy.domain.playlist.check import Report, check
from proxy.domain.playlist.lexer import scan
from proxy.domain.playlist.rules import RULES, Finding
from proxy.domain.playlist.text import MAX_BYTES, check_scheme
from proxy.domain.reasons import Refusal
from proxy.domain.video import SAFE_ID, parse_video_id
from proxy.edge.video_inspector import InspectedPlaylist, VideoInspector
from proxy.settings import SettingsInvalid, load_settings
from proxy.wiring import open_dailymotion, open_state

EXIT_UNREADABLE = 2  # the exit code where an input could not be read
SEVERITY_COLOURS = {"warning": "yellow", "error": "red", "unplayable": "bold red"}
MAX_SHOWN_LENGTH = 100  # characters of a line
SIGNATURE = re.compile(r"(sec2?[=(])[A-Za-z0-9_%=-]{8,}")
SECTION_NUMBER = re.compile(r"\([0-9]+\.[0-9.]+\)")
FETCH_TIMEOUT_SECONDS = 20.0


class UnreadableInput(Exception):
    """An input that could not be read; the message says why."""


def inspect(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE|URL|VIDEO_ID...",
            help="A file, - for standard input, a URL, or a video's id.",
        ),
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line for each input that can be read.")
    ] = False,
    config: Config = None,
) -> None:
    """Check playlists: files, URLs, or those of a video.

    Exit 1 if a playlist is invalid, 2 if one cannot be read.

    A video id is resolved for this machine, and followed to one segment of each variant.
    """
    worst = 0
    for given in inputs:
        try:
            found = _inspect_input(given, config, quiet=as_json)
        except UnreadableInput as unreadable:
            typer.echo(f"{given}: {unreadable}", err=True)
            worst = EXIT_UNREADABLE
            continue
        valid = are_valid(found)
        worst = max(worst, 0 if valid else 1)
        if as_json:
            typer.echo(json.dumps(build_summary(given, found), ensure_ascii=False))
        else:
            print_report(given, found)
    raise typer.Exit(worst)


def _inspect_input(given: str, config: Path | None, *, quiet: bool) -> list[InspectedPlaylist]:
    if "://" in given:
        return [_to_inspected(run(fetch_report(given)))]
    if given == "-":
        return [_to_inspected(check(sys.stdin.buffer.read(MAX_BYTES + 1)))]
    if (body := read_file(Path(given))) is not None:
        return [_to_inspected(check(body))]
    return run(inspect_video(given, config, quiet=quiet))


def read_file(path: Path) -> bytes | None:
    """Return a file's content as far as a playlist may go; None for what may be a video instead."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        if SAFE_ID.fullmatch(str(path)) is not None:
            return None
        raise UnreadableInput(f"{error.strerror}") from None
    except (OSError, ValueError) as error:
        raise UnreadableInput(getattr(error, "strerror", None) or "cannot be read") from None


async def fetch_report(url: str) -> Report:
    """Return the check of what a URL gives; any host will do, the command is run by hand."""
    if check_scheme(url) or not url.startswith(("http://", "https://")):
        raise UnreadableInput("only http:// and https:// can be fetched")
    timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT_SECONDS)
    body = bytearray()
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, requote_redirect_url=False) as session,
            session.get(URL(url, encoded=True)) as response,  # signed URLs stay as they are
        ):
            if response.status != HTTPStatus.OK:
                raise UnreadableInput(f"HTTP {response.status}")
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > MAX_BYTES:
                    break
            base, content_type = str(response.url), response.content_type
    except TimeoutError:
        raise UnreadableInput(f"no answer in {FETCH_TIMEOUT_SECONDS:g} s") from None
    except (aiohttp.ClientError, ValueError, OSError) as error:
        cause = CAUSES.get(type(error), type(error).__name__)
        raise UnreadableInput(f"cannot be fetched ({cause})") from None
    return check(bytes(body), base=base, content_type=content_type)


async def inspect_video(given: str, config: Path | None, *, quiet: bool) -> list[InspectedPlaylist]:
    """Return what is found in all playlists of a video."""
    try:
        settings = load_settings(config)
    except SettingsInvalid as invalid:
        hint = "" if config is not None else " (with --config FILE)"
        raise UnreadableInput(
            f"no such file; to look for a video of that name{hint}, mend this first: {invalid}"
        ) from None
    try:
        video = parse_video_id(given, re.compile(settings.platform.video_id_pattern))
    except Refusal:
        raise UnreadableInput(
            "no such file, and not a video id (platform.video_id_pattern)"
        ) from None
    telemetry = build_telemetry()
    try:
        async with (
            open_state(settings, telemetry, is_alone=True) as (state, _),
            open_dailymotion(settings, telemetry, state) as upstream,
        ):
            inspection = VideoInspector(
                upstream.streams, upstream.cdn, upstream.playlist_checker, telemetry.clock
            )
            with Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                console=Console(stderr=True),
                transient=True,
                disable=quiet or not sys.stderr.isatty(),
            ) as bar:
                return await inspection.inspect(video, _build_progress(bar, given))
    except Refusal as refusal:
        detail = f" ({refusal.detail})" if refusal.detail else ""
        raise UnreadableInput(f"{refusal.reason}: {refusal.message}{detail}") from None


def _build_progress(bar: Progress, given: str) -> Callable[[int, int, str], None]:
    task = bar.add_task(given)
    return lambda done, of, what: bar.update(
        task, completed=done, total=of, description=f"{given} {what}"
    )


def _to_inspected(report: Report) -> InspectedPlaylist:
    return InspectedPlaylist(name="", kind=report.kind, findings=report.findings, text=report.text)


def are_valid(found: list[InspectedPlaylist]) -> bool:
    """Say whether the specification allows all of it."""
    return all(it.severity == "warning" for one in found for it in one.findings)


def build_summary(given: str, found: list[InspectedPlaylist]) -> dict[str, object]:
    """Return what --json says of one input."""
    return {
        "input": given,
        "kind": found[0].kind,
        "verdict": "ok" if are_valid(found) else "invalid",
        "findings": [
            {
                "rule": finding.rule,
                "line": finding.line,
                "severity": finding.severity,
                "message": f"{one.name}: {finding.message}" if one.name else finding.message,
            }
            for one in found
            for finding in one.findings
        ],
    }


def print_report(given: str, found: list[InspectedPlaylist]) -> None:
    """Print a report to read."""
    console = Console(highlight=False, soft_wrap=True)
    word = "[green]ok[/]" if are_valid(found) else "[red]invalid[/]"
    console.print(f"[bold]{escape(given)}[/]  {found[0].kind or 'no playlist'}  {word}")
    for one in found:
        if one.name:
            mark = "[green]ok[/]" if are_valid([one]) else "[red]invalid[/]"
            console.print(f"  [bold]{escape(to_printable(one.name))}[/]  {mark}")
        lines = [line.text for line in scan(one.text)]
        for finding in one.findings:
            for text in format_finding(finding, lines):
                console.print(text)
    console.print()


def format_finding(finding: Finding, lines: list[str]) -> Iterator[str]:
    """Yield the lines that tell of a finding."""
    colour = SEVERITY_COLOURS[finding.severity]
    section = RULES[finding.rule].section
    says_where = section == "hls" or SECTION_NUMBER.search(finding.message) is not None
    where = finding.rule if says_where else f"({section})  {finding.rule}"
    yield f"    [{colour}]{finding.severity:<10}[/] {escape(finding.message)}  [dim]{where}[/]"
    if finding.line is not None and finding.line <= len(lines):
        yield f"    [dim]{finding.line:>10} │ {escape(to_printable(lines[finding.line - 1]))}[/]"


def to_printable(text: str) -> str:
    """Return a line of a playlist as a terminal may have it: short, harmless, unsigned."""
    text = SIGNATURE.sub(r"\1…", text)
    text = text if len(text) <= MAX_SHOWN_LENGTH else f"{text[:MAX_SHOWN_LENGTH]}…"
    return options.to_printable(text)
