"""Commands that are stopped by a signal."""

import asyncio
import gc
import os
import signal
from collections.abc import Coroutine
from typing import Any

import typer

from proxy.cli.options import run


def test_an_error_during_cancellation_is_not_logged(caplog):
    async def work() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await asyncio.sleep(60)
        finally:
            raise OSError("the disk is gone")

    assert exit_code_of(work()) == 128 + signal.SIGTERM
    gc.collect()  # asyncio logs an exception that was never retrieved when its task is collected

    assert not caplog.records


def exit_code_of(work: Coroutine[Any, Any, None]) -> int:
    try:
        run(work)
    except typer.Exit as ended:  # released here, with all objects that it references
        return ended.exit_code
    return 0
