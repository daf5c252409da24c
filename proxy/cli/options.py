"""What every command takes, and how every command fails."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, TypeVar

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from typer.core import TyperCommand

from proxy.adapters.errors import StateError
from proxy.domain.client_ip import Address, parse_address
from proxy.domain.reasons import Refusal
from proxy.domain.validation_messages import sentence_for
from proxy.domain.video import VideoId, parse_video_id
from proxy.settings import Settings, SettingsInvalid, load_settings
from proxy.settings.sources import CONFIG_VARIABLE, default_file

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        envvar=CONFIG_VARIABLE,
        metavar="FILE",
        help="The settings file. [default: ./playgate.toml, else /etc/playgate/playgate.toml]",
        show_default=False,
        callback=lambda given: given or default_file(),
    ),
]


class PlainCommand(TyperCommand):
    """A command that says what is wrong with an option in our words, not the library's."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments.

        Raises:
            typer.BadParameter: one is not valid.
        """
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            if isinstance(error.__cause__, ValidationError):
                line = error.__cause__.errors(include_url=False, include_input=False)[0]
                error.message = sentence_for(line["type"], line["msg"], line.get("ctx", {}))
            raise


Run = TypeVar("Run", bound=Callable[..., None])


def command(app: typer.Typer, *shown: str, name: str | None = None) -> Callable[[Run], Run]:
    """Return a decorator that adds a command, with examples at the end of its help."""
    return app.command(name, cls=PlainCommand, epilog=examples(*shown))


def examples(*commands: str) -> str:
    """Return the last paragraph of a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  {command}" for command in commands)


def settings_or_exit(config: Path | None, *, for_edge: bool = True) -> Settings:
    """Return the settings, or say everything that is wrong with them and exit with 1."""
    try:
        return load_settings(config, for_edge=for_edge)
    except SettingsInvalid as invalid:
        fail(str(invalid))


def video_or_exit(settings: Settings, text: str, *, option: str = "") -> VideoId:
    """Return a video id, or say that it is none and exit with 1."""
    try:
        return parse_video_id(text, re.compile(settings.platform.video_id_pattern))
    except Refusal:
        fail(f"{option}{text!r} is not a video id; see platform.video_id_pattern")


def address_or_exit(text: str) -> Address:
    """Return the address that --ip gives, or say that it is none and exit with 1."""
    if (address := parse_address(text)) is None:
        fail(f"--ip: {text!r} is not an address")
    return address


def mode_of(path: Path) -> int | None:
    """Return a file's permissions, or None where no file is to be seen."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None


def printable(text: str) -> str:
    """Return what came from elsewhere as a terminal may have it: in one line, without escapes."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def moment_of(seconds: int) -> str:
    """Return a moment, in seconds since 1970, as people read it."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError, OSError):
        return f"{seconds} s since 1970"


def say(text: str) -> None:
    """Print a line of markup, in colour where there is any."""
    Console(soft_wrap=True, highlight=False).print(text)


def why(error: Refusal | StateError) -> str:
    """Return what an operator is told of a failure: all of it."""
    if isinstance(error, StateError):
        return error.detail
    return f"{error.reason}: {error.detail or error.message}"


def fail(message: str) -> NoReturn:
    """Say what went wrong on standard error and exit with 1."""
    typer.echo(message, err=True)
    raise typer.Exit(1)


Status = Literal["ok", "warn", "fail"]
COLOURS: dict[Status, str] = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line: what was checked, the outcome, and what to do about it."""

    check: str
    status: Status
    text: str
    next_step: str = ""


def print_finding(finding: Finding) -> None:
    """Print one finding."""
    colour = COLOURS[finding.status]
    say(f"[{colour}]{finding.status:<5}[/]{finding.check:<12}{escape(printable(finding.text))}")
    if finding.next_step:
        say(f"{'':<17}[dim]→ {escape(printable(finding.next_step))}[/]")
