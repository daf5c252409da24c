"""Shared by all commands: options, error messages, and interruption by signals."""

import asyncio
import os
import re
import signal
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Literal, NoReturn, TypeVar

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from typer.core import TyperCommand

from proxy.adapters.dailymotion.refresh_token_grant import (
    TOKEN_TIMEOUT_SECONDS,
    is_exchange_running,
)
from proxy.adapters.errors import StateError
from proxy.domain.client_ip import Address, parse_address
from proxy.domain.reasons import Refusal
from proxy.domain.validation_messages import format_message
from proxy.domain.video import VideoId, parse_video_id
from proxy.settings import Settings, SettingsInvalid, load_settings
from proxy.settings.sources import CONFIG_VARIABLE, find_default_file

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        envvar=CONFIG_VARIABLE,
        metavar="FILE",
        help="The settings file. [default: ./playgate.toml, else /etc/playgate/playgate.toml]",
        show_default=False,
        callback=lambda given: given or find_default_file(),
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
                error.message = format_message(line["type"], line["msg"], line.get("ctx", {}))
            raise


Run = TypeVar("Run", bound=Callable[..., None])


def add_command(app: typer.Typer, *shown: str, name: str | None = None) -> Callable[[Run], Run]:
    """Return a decorator that adds a command, with examples at the end of its help."""
    return app.command(name, cls=PlainCommand, epilog=format_examples(*shown))


def format_examples(*commands: str) -> str:
    """Return the last paragraph of a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  {command}" for command in commands)


def load_settings_or_exit(config: Path | None, *, for_edge: bool = True) -> Settings:
    """Return the settings, or say everything that is wrong with them and exit with 1."""
    try:
        return load_settings(config, for_edge=for_edge)
    except SettingsInvalid as invalid:
        fail(str(invalid))


def parse_video_or_exit(settings: Settings, text: str, *, option: str = "") -> VideoId:
    """Return a video id, or say that it is none and exit with 1."""
    try:
        return parse_video_id(text, re.compile(settings.platform.video_id_pattern))
    except Refusal:
        fail(f"{option}{text!r} is not a video id; see platform.video_id_pattern")


def parse_address_or_exit(text: str) -> Address:
    """Return the address that --ip gives, or say that it is none and exit with 1."""
    if (address := parse_address(text)) is None:
        fail(f"--ip: {text!r} is not an address")
    return address


def to_printable(text: str) -> str:
    """Return what came from elsewhere as a terminal may have it: in one line, without escapes."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def format_time(seconds: int) -> str:
    """Return a moment, in seconds since 1970, as people read it."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError, OSError):
        return f"{seconds} s since 1970"


def print_markup(text: str) -> None:
    """Print a line of markup, in colour where there is any."""
    Console(soft_wrap=True, highlight=False).print(text)


def describe_failure(error: Refusal | StateError) -> str:
    """Return what an operator is told of a failure: all of it."""
    if isinstance(error, StateError):
        return error.detail
    return f"{error.reason}: {error.detail or error.message}"


def fail(message: str) -> NoReturn:
    """Say what went wrong on standard error and exit with 1."""
    typer.echo(message, err=True)
    raise typer.Exit(1)


Status = Literal["ok", "warn", "fail"]
STATUS_COLOURS: dict[Status, str] = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One line: what was checked, the outcome, and what to do about it."""

    check: str
    status: Status
    text: str
    next_step: str = ""


def print_result(finding: CheckResult) -> None:
    """Print one finding."""
    colour = STATUS_COLOURS[finding.status]
    print_markup(
        f"[{colour}]{finding.status:<5}[/]{finding.check:<12}{escape(to_printable(finding.text))}"
    )
    if finding.next_step:
        print_markup(f"{'':<17}[dim]→ {escape(to_printable(finding.next_step))}[/]")


T = TypeVar("T")

INTERRUPT_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SIGNAL_EXIT_STATUS = 128  # plus the signal's number, as a shell tells it
SECOND_SIGNAL_SECONDS = 1.0  # seconds after which a signal insists; timeout(1) sends one twice


def run(work: Coroutine[Any, Any, T]) -> T:
    """Return what some work returns; end in order when the process is told to, and then exit.

    What the work sees through, the answer to a refresh, it sees through. Told again later, the
    process ends at once.
    """
    return asyncio.run(_run_interruptible(work))


async def _run_interruptible(work: Coroutine[Any, Any, T]) -> T:
    loop, task = asyncio.get_running_loop(), asyncio.create_task(work)
    told: list[tuple[int, float]] = []  # which signal, and when: monotonic seconds

    # Not the loop's own handlers: they never run where something blocks the loop.
    def stop(number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if told and now - told[0][1] > SECOND_SIGNAL_SECONDS:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        if not told:
            told.append((number, now))
            loop.call_soon_threadsafe(task.cancel)
            loop.call_soon_threadsafe(loop.call_later, SECOND_SIGNAL_SECONDS, _explain_wait)

    former = {number: signal.getsignal(number) for number in INTERRUPT_SIGNALS}
    for number, handler in former.items():
        if handler is not signal.SIG_IGN:  # nohup, or a shell's `&`
            signal.signal(number, stop)
    try:
        await asyncio.gather(task, return_exceptions=True)  # looked at, whether told or not
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
    if told:
        raise typer.Exit(SIGNAL_EXIT_STATUS + told[0][0])
    return task.result()


def _explain_wait() -> None:
    if is_exchange_running():
        most = f"{TOKEN_TIMEOUT_SECONDS:g} seconds at most"
        typer.echo(
            f"Waiting for Dailymotion's answer, {most}, so that the login is kept.", err=True
        )
