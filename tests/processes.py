"""Run Playgate as a child process, read its output, and stop it."""

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
    """A running command; `output` collects everything that it prints."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.output = ""
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while chunk := await self.process.stdout.read(65536):
            self.output += chunk.decode(errors="replace")

    async def wait_for_output(self, text: str, seconds: float = 60) -> str:
        """Wait until the output contains a text; return the whole output so far.

        Raises:
            AssertionError: the process ended without printing the text.
            TimeoutError: the text was not printed within `seconds`.
        """
        async with asyncio.timeout(seconds):
            while text not in self.output:
                if self.process.returncode is not None or self._reading.done():
                    raise AssertionError(
                        f"the process ended without printing {text!r}:\n{self.output}"
                    )
                await asyncio.sleep(0.02)
        return self.output

    async def stop(self, number: int = signal.SIGTERM, seconds: float = 30) -> int:
        """Send a signal and wait for the process to end; return its exit code."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await self.wait_for_exit(seconds)

    async def wait_for_exit(self, seconds: float = 120) -> int:
        """Wait until the process has ended and its output is complete; return its exit code."""
        async with asyncio.timeout(seconds):
            code = await self.process.wait()
            await self._reading
        return code


@asynccontextmanager
async def run_process(
    *command: str | Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: int | None = None,
) -> AsyncIterator[Process]:
    """Run a command; kill it when the context is left, unless it has ended by itself."""
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
        await running.wait_for_exit()


async def run_command(
    *command: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> tuple[int, str]:
    """Run a command until it ends; return its exit code and its output."""
    async with run_process(*command, env=env, cwd=cwd) as process:
        return await process.wait_for_exit(), process.output


def playgate(*arguments: str | Path) -> list[str | Path]:
    """Return the command line that runs Playgate with this Python."""
    return [sys.executable, "-m", "proxy", *arguments]


def build_edge_environment(sandbox: Sandbox) -> dict[str, str]:
    """Return environment variables that point Playgate at a sandbox instead of Dailymotion."""
    return {
        "PLAYGATE_PLATFORM__TOKEN_URL": f"{sandbox.origin}/oauth/v1/token",
        "PLAYGATE_PLATFORM__REST_URL": f"{sandbox.origin}/rest",
        "PLAYGATE_PLATFORM__ALLOWED_HOSTS": json.dumps([URL(sandbox.origin).authority]),
    }


@dataclass(slots=True)
class EdgeProcess:
    """An edge process that can be stopped, killed and restarted on the same addresses."""

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
            "PLAYGATE_STATE__TIMEOUT": "5",  # seconds; a slow machine must not look like failing Redis
        }
        command = [*self.program, "serve", "--config", SANDBOX_TOML]
        self.process = await self.stack.enter_async_context(
            run_process(*command, env={**self.env, **ports, **env})
        )
        await self.process.wait_for_output('"serving"')

    async def stop(self) -> None:
        assert await self.process.stop() == 0, self.process.output
        await self.close()

    async def kill(self) -> None:
        await self.process.stop(signal.SIGKILL)
        await self.close()

    async def close(self) -> None:
        """Kill the process if it still runs."""
        await self.stack.aclose()
        self.stack = AsyncExitStack()
