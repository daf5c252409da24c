"""Playgate as a process of its own: started, read, told to stop."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ports import free_port
from support import SANDBOX_TOML
from yarl import URL

from proxy.sandbox.state import Sandbox


class Process:
    """A running command whose output is kept."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.output = ""
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while chunk := await self.process.stdout.read(65536):
            self.output += chunk.decode(errors="replace")

    async def says(self, text: str, seconds: float = 60) -> str:
        async with asyncio.timeout(seconds):
            while text not in self.output:
                if self.process.returncode is not None or self._reading.done():
                    raise AssertionError(f"it ended without saying {text!r}:\n{self.output}")
                await asyncio.sleep(0.02)
        return self.output

    async def stop(self, number: int = signal.SIGTERM, seconds: float = 30) -> int:
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(seconds):
            code = await self.process.wait()
            await self.read_to_the_end()
        return code

    async def read_to_the_end(self) -> None:
        await self._reading


@asynccontextmanager
async def started(
    *command: str | Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: int | None = None,
) -> AsyncIterator[Process]:
    """Start a command; whatever happens, it has ended when the context is left."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
        cwd=cwd,
        stdin=stdin,
    )
    running = Process(process)
    try:
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await running.read_to_the_end()


def playgate(*arguments: str | Path) -> list[str | Path]:
    """Return the command line of Playgate in this environment."""
    return [sys.executable, "-m", "proxy", *arguments]


def in_front_of(sandbox: Sandbox) -> dict[str, str]:
    """Return what has a command ask a sandbox in place of Dailymotion."""
    return {
        "PLAYGATE_PLATFORM__TOKEN_URL": f"{sandbox.origin}/oauth/v1/token",
        "PLAYGATE_PLATFORM__REST_URL": f"{sandbox.origin}/rest",
        "PLAYGATE_PLATFORM__ALLOWED_HOSTS": json.dumps([URL(sandbox.origin).authority]),
    }


@dataclass(slots=True)
class EdgeProcess:
    """One edge, which may be stopped, killed and started again at the same addresses."""

    env: dict[str, str]
    program: Sequence[str | Path] = (sys.executable, "-m", "proxy")
    player: int | str = field(default_factory=free_port)
    operator: int = field(default_factory=free_port)
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    process: Any = None

    async def start(self, **env: str) -> None:
        listen = f"127.0.0.1:{self.player}" if isinstance(self.player, int) else self.player
        ports = {
            "PLAYGATE_WEB__LISTEN": listen,
            "PLAYGATE_OPERATOR__LISTEN": f"127.0.0.1:{self.operator}",
            "PLAYGATE_STATE__TIMEOUT": "5",  # a slow machine is not a state that fails
        }
        command = [*self.program, "serve", "--config", SANDBOX_TOML]
        self.process = await self.stack.enter_async_context(
            started(*command, env={**self.env, **ports, **env})
        )
        await self.process.says('"serving"')

    async def stop(self) -> None:
        assert await self.process.stop() == 0, self.process.output
        await self.close()

    async def kill(self) -> None:
        await self.process.stop(signal.SIGKILL)
        await self.close()

    async def close(self) -> None:
        """End it, if it has not ended."""
        await self.stack.aclose()
        self.stack = AsyncExitStack()
