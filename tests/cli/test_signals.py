"""A command that is told to stop."""

import asyncio
import gc
import os
import signal
from collections.abc import Coroutine
from typing import Any

import typer

from proxy.cli.options import run


def test_what_fails_on_the_way_out_shows_no_trace(caplog):
    async def work() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await asyncio.sleep(60)
        finally:
            raise OSError("the disk is gone")

    assert exit_code_of(work()) == 128 + signal.SIGTERM
    gc.collect()  # asyncio writes of an error that nobody looked at when it is thrown away

    assert not caplog.records


def exit_code_of(work: Coroutine[Any, Any, None]) -> int:
    try:
        run(work)
    except typer.Exit as ended:  # let go here, and all that it holds with it
        return ended.exit_code
    return 0
