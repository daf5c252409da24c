"""Ctrl-C, SIGTERM and a terminal that goes away: a command ends in order."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Coroutine
from types import FrameType
from typing import Any, TypeVar

import typer

from proxy.adapters.dailymotion.stored_login import PATIENCE, is_seen_through

T = TypeVar("T")

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SHELL_STATUS = 128  # plus the signal's number, as a shell tells it
AGAIN = 1.0  # seconds after which a signal insists; timeout(1) sends one twice


def run(work: Coroutine[Any, Any, T]) -> T:
    """Return what some work returns; end in order when the process is told to, and then exit.

    What the work sees through, the answer to a refresh, it sees through. Told again later, the
    process ends at once.
    """
    return asyncio.run(_interruptible(work))


async def _interruptible(work: Coroutine[Any, Any, T]) -> T:
    loop, task = asyncio.get_running_loop(), asyncio.create_task(work)
    told: list[tuple[int, float]] = []  # which signal, and when: monotonic seconds

    # Not the loop's own handlers: they never run where something blocks the loop.
    def stop(number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if told and now - told[0][1] > AGAIN:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        if not told:
            told.append((number, now))
            loop.call_soon_threadsafe(task.cancel)
            loop.call_soon_threadsafe(loop.call_later, AGAIN, _explain)

    former = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in former.items():
        if handler is not signal.SIG_IGN:  # nohup, or a shell's `&`
            signal.signal(number, stop)
    try:
        await asyncio.gather(task, return_exceptions=True)  # looked at, whether told or not
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
    if told:
        raise typer.Exit(SHELL_STATUS + told[0][0])
    return task.result()


def _explain() -> None:
    if is_seen_through():
        most = f"{PATIENCE:g} seconds at most"
        typer.echo(
            f"Waiting for Dailymotion's answer, {most}, so that the login is kept.", err=True
        )
