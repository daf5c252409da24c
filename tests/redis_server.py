"""Run a real Redis or Valkey on a free local port; tests can stop, hang and empty it."""

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from ports import free_port
from redis.asyncio import Redis
from redis.exceptions import RedisError
from support import wait_until


@dataclass(slots=True)
class RedisServer:
    """A Redis server that can be stopped and restarted on the same port."""

    program: str
    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> Redis:
        return Redis.from_url(self.url, decode_responses=True)

    async def start(self) -> None:
        options = {"port": self.port, "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": self.folder}  # fmt: skip
        arguments = [str(text) for name, value in options.items() for text in (f"--{name}", value)]
        self.process = subprocess.Popen(  # noqa: ASYNC220  # returns right after the fork
            [self.program, *arguments], stdout=subprocess.DEVNULL
        )
        await wait_until(self.is_serving)

    async def is_serving(self) -> bool:
        async with self.client() as client:
            try:
                return bool(await client.ping())
            except (RedisError, OSError):
                return False

    async def stop(self, number: int = signal.SIGKILL) -> None:
        if self.process is not None:
            self.resume()
            self.process.send_signal(number)
            await asyncio.to_thread(self.process.wait, 20)
            self.process = None

    def hang(self) -> None:
        """Suspend the process: connections stay open without a response."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    async def empty(self) -> None:
        async with self.client() as client:
            await client.flushall()

    async def count_commands(self) -> int:
        """Return the number of commands received.

        Not counted: this query, the setup of connections, and the polling of revocations.
        """
        async with self.client() as client:
            stats = await client.info("commandstats")
        uncounted = {"info", "xrange", "hello", "client|setinfo", "select", "ping", "config|get"}
        return sum(
            int(command["calls"])
            for name, command in stats.items()
            if name.removeprefix("cmdstat_") not in uncounted
        )


@asynccontextmanager
async def run_redis(program: str, folder: Path) -> AsyncIterator[RedisServer]:
    """Run a Redis server until the context is left."""
    server = RedisServer(program, folder, free_port())
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
