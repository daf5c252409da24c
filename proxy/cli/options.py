"""Options, error messages and signal handling that all commands share."""

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
        callback=lambda path: path or find_default_file(),
    ),
]


class PlainCommand(TyperCommand):
    """A command that reports invalid options in Playgate's words instead of pydantic's."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments.

        Raises:
            typer.BadParameter: An argument is invalid.
        """
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            if isinstance(error.__cause__, ValidationError):
                line = error.__cause__.errors(include_url=False, include_input=False)[0]
                error.message = format_message(line["type"], line["msg"], line.get("ctx", {}))
            raise


Run = TypeVar("Run", bound=Callable[..., None])


def add_command(app: typer.Typer, *examples: str, name: str | None = None) -> Callable[[Run], Run]:
    """Return a decorator that adds a command with examples at the end of its help."""
    return app.command(name, cls=PlainCommand, epilog=format_examples(*examples))


def format_examples(*commands: str) -> str:
    """Format example commands as the last paragraph of a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  {command}" for command in commands)


def load_settings_or_exit(config: Path | None, *, for_edge: bool = True) -> Settings:
    """Load the settings, or print every error in them and exit with 1."""
    try:
        return load_settings(config, for_edge=for_edge)
    except SettingsInvalid as invalid:
        fail(str(invalid))


def parse_video_or_exit(settings: Settings, text: str, *, option: str = "") -> VideoId:
    """Parse a video ID, or print an error and exit with 1."""
    try:
        return parse_video_id(text, re.compile(settings.platform.video_id_pattern))
    except Refusal:
        fail(f"{option}{text!r} is not a video ID; see platform.video_id_pattern")


def parse_address_or_exit(text: str) -> Address:
    """Parse the value of --ip, or print an error and exit with 1."""
    if (address := parse_address(text)) is None:
        fail(f"--ip: {text!r} is not an IP address such as 203.0.113.7")
    return address


def to_printable(text: str) -> str:
    """Make text from other systems safe to print: one line, without terminal escapes."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def format_time(seconds: int) -> str:
    """Format a time, in seconds since 1970, as date and time in UTC."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError, OSError):
        return f"{seconds} s since 1970"


def print_markup(text: str) -> None:
    """Print a line of rich markup, in colour if the terminal has colours."""
    Console(soft_wrap=True, highlight=False).print(text)


def describe_failure(error: Refusal | StateError) -> str:
    """Describe a failure to an operator, with its full detail."""
    if isinstance(error, StateError):
        return error.detail
    return f"{error.reason}: {error.detail or error.message}"


def fail(message: str) -> NoReturn:
    """Print an error message on standard error and exit with 1."""
    typer.echo(message, err=True)
    raise typer.Exit(1)


Status = Literal["ok", "warn", "fail"]
STATUS_COLOURS: dict[Status, str] = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """The result of one check: its name, its status, an explanation, and the next step."""

    check: str
    status: Status
    text: str
    next_step: str = ""


def print_result(result: CheckResult) -> None:
    """Print the result of a check, and the next step on a line of its own."""
    colour = STATUS_COLOURS[result.status]
    print_markup(
        f"[{colour}]{result.status:<5}[/]{result.check:<12}{escape(to_printable(result.text))}"
    )
    if result.next_step:
        print_markup(f"{'':<17}[dim]→ {escape(to_printable(result.next_step))}[/]")


T = TypeVar("T")

INTERRUPT_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SIGNAL_EXIT_STATUS = 128  # plus the signal's number, as shells report it
# A second signal within this time is ignored, because timeout(1) sends each signal twice.
SECOND_SIGNAL_SECONDS = 1.0


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine and return its result; on SIGINT, SIGTERM or SIGHUP, cancel it and exit.

    A token refresh that is in flight is still completed, so that the login is not lost. A second
    signal, more than a second after the first, ends the process at once.
    """
    return asyncio.run(_run_interruptible(work))


async def _run_interruptible(work: Coroutine[Any, Any, T]) -> T:
    loop, task = asyncio.get_running_loop(), asyncio.create_task(work)
    received: list[tuple[int, float]] = []  # the first signal, and its time: monotonic seconds

    # Not loop.add_signal_handler: its handlers cannot run while a call blocks the loop.
    def stop(number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if received and now - received[0][1] > SECOND_SIGNAL_SECONDS:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        if not received:
            received.append((number, now))
            loop.call_soon_threadsafe(task.cancel)
            loop.call_soon_threadsafe(loop.call_later, SECOND_SIGNAL_SECONDS, _explain_wait)

    previous = {number: signal.getsignal(number) for number in INTERRUPT_SIGNALS}
    for number, handler in previous.items():
        # Keep ignoring the signals that nohup or a shell's `&` ignores.
        if handler is not signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        await asyncio.gather(
            task, return_exceptions=True
        )  # so that asyncio does not log its exception
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if received:
        raise typer.Exit(SIGNAL_EXIT_STATUS + received[0][0])
    return task.result()


def _explain_wait() -> None:
    if is_exchange_running():
        typer.echo(
            f"Waiting up to {TOKEN_TIMEOUT_SECONDS:g} seconds for Dailymotion's response: "
            "stopping now would lose the login. Press Ctrl-C again to stop at once.",
            err=True,
        )
