"""Ctrl-C and SIGTERM: a command ends in order, and says what it still waits for."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

import typer

T = TypeVar("T")

SHELL_STATUS = 128  # plus the signal's number, as a shell tells it
SILENT = 1.0  # seconds to end in before a word is said about it


def run(work: Coroutine[Any, Any, T]) -> T:
    """Return what some work returns; end in order when the process is told to, and then exit.

    What the work sees through, such as the answer to a refresh, it sees through. Told twice, the
    process ends at once.
    """
    return asyncio.run(_interruptible(work))


async def _interruptible(work: Coroutine[Any, Any, T]) -> T:
    loop, told = asyncio.get_running_loop(), set[signal.Signals]()
    task = asyncio.create_task(work)

    def stop(number: signal.Signals) -> None:
        if told:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        told.add(number)
        task.cancel()
        loop.call_later(SILENT, _explain)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    try:
        return await task
    except asyncio.CancelledError:
        raise typer.Exit(SHELL_STATUS + told.pop()) if told else asyncio.CancelledError from None


def _explain() -> None:
    typer.echo(
        "Waiting for Dailymotion's answer, 30 seconds at most: without it the login would be lost.",
        err=True,
    )
