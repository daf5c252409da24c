"""Dailymotion's end of the wire: a sandbox's answers on https, and whatever can break them."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal, get_args

import aiohttp
from ports import free_port
from yarl import URL

Kind = Literal["token", "video", "playlist", "bytes"]
KINDS: tuple[Kind, ...] = get_args(Kind)

BACKLOG = 1024
GOODBYE = 0.5  # seconds that TLS may take for one
HOP_BY_HOP = {"connection", "content-length", "date", "host", "server", "transfer-encoding"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What should be sent."""

    status: str  # the status line
    headers: list[str]
    body: bytes

    @property
    def head(self) -> bytes:
        return self.head_with(f"Content-Length: {len(self.body)}")

    def head_with(self, *lines: str) -> bytes:
        """Return the head with a field for the body's length, or whatever stands in its place."""
        return "\r\n".join([self.status, *self.headers, *lines, "", ""]).encode()


@dataclass(slots=True)
class Line:
    """One connection that an edge has opened."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        if self.writer.is_closing():  # or asyncio would take it, and drop it
            raise ConnectionResetError
        self.writer.write(data)
        await self.writer.drain()
        await asyncio.sleep(0)

    async def drip(self, data: bytes) -> None:
        for n in range(len(data)):
            await self.send(data[n : n + 1])
            await asyncio.sleep(0.1)

    async def stall(self) -> None:
        """Say no more until the edge has had enough."""
        await self.reader.read()

    def reset(self) -> None:
        reset(self.writer.get_extra_info("socket"))
        self.writer.transport.abort()

    def close(self) -> None:
        self.writer.close()


def reset(connection: socket.socket) -> None:
    """Have the end of a connection be a reset, and not the end of what was sent."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


# Sends an answer, or does something else; the connection ends with it.
Exchange = Callable[[Line, Answer], Awaitable[None]]
# Does something with a connection in place of TLS.
Greeting = Callable[[socket.socket], Awaitable[None]]


@dataclass(slots=True)
class Wire:
    """Listens where Dailymotion and its CDN would, and asks a sandbox."""

    sandbox: str  # its origin
    tls: ssl.SSLContext  # of whoever answers
    session: aiohttp.ClientSession
    port: int = field(default_factory=free_port)
    exchanges: dict[Kind, Exchange] = field(default_factory=dict)
    greeting: Greeting | None = None
    broken: int = 0  # exchanges and greetings so far
    _listener: socket.socket | None = None
    _accepting: asyncio.Task[None] | None = None
    _serving: set[asyncio.Task[None]] = field(default_factory=set)
    _waiting: set[asyncio.Task[None]] = field(default_factory=set)  # … for a question

    @property
    def host(self) -> str:
        return f"localhost:{self.port}"

    def listen(self) -> None:
        opened = socket.socket()
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(("127.0.0.1", self.port))
        opened.listen(BACKLOG)
        opened.settimeout(0)
        self._listener, self.port = opened, opened.getsockname()[1]
        self._accepting = asyncio.create_task(self._accept(opened))

    async def stop_listening(self) -> None:
        assert self._accepting is not None and self._listener is not None
        self._accepting.cancel()
        await asyncio.gather(self._accepting, return_exceptions=True)
        self._listener.close()

    async def hang_up(self) -> None:
        """End the connections that wait for a question; the edge may be renewing its token."""
        await self._end(self._waiting)

    async def hang_up_all(self) -> None:
        """End all connections."""
        await asyncio.sleep(0)  # what was just accepted begins, or would never be closed
        await self._end(self._serving)

    async def _end(self, tasks: set[asyncio.Task[None]]) -> None:
        ended = list(tasks)
        for task in ended:
            task.cancel()
        await asyncio.gather(*ended, return_exceptions=True)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(listener)
            task = asyncio.create_task(self._serve(connection))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)

    async def _serve(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        if self.greeting is not None:
            self.broken += 1
            with connection, suppress(OSError):
                await self.greeting(connection)
            return
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        try:
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol, connection, ssl=self.tls, ssl_shutdown_timeout=GOODBYE
            )
        except (OSError, asyncio.CancelledError):  # an edge that will not have this certificate
            connection.close()
            return
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        try:
            await self._answer_all(Line(reader, writer))
        except (OSError, asyncio.IncompleteReadError):
            pass  # the edge has left
        finally:
            if not transport.is_closing():
                transport.abort()

    async def _answer_all(self, line: Line) -> None:
        while True:
            head = (await self._question(line)).decode().split("\r\n")
            method, path, _ = head[0].split(" ")
            headers = dict(it.split(": ", 1) for it in head[1:] if it)
            length = int(
                {name.lower(): it for name, it in headers.items()}.get("content-length", 0)
            )
            body = await line.reader.readexactly(length)
            answer = await self._ask(method, path, headers, body)
            if (broken := self.exchanges.get(kind_of(path))) is not None:
                self.broken += 1
                await broken(line, answer)
                return
            await line.send(answer.head + answer.body)

    async def _question(self, line: Line) -> bytes:
        task = asyncio.current_task()
        assert task is not None
        self._waiting.add(task)
        try:
            return await line.reader.readuntil(b"\r\n\r\n")
        finally:
            self._waiting.discard(task)

    async def _ask(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        kept = {name: it for name, it in headers.items() if name.lower() not in HOP_BY_HOP}
        async with self.session.request(
            method,
            URL(self.sandbox + path, encoded=True),
            headers=kept,
            data=body or None,
            allow_redirects=False,
        ) as answer:
            return Answer(
                f"HTTP/1.1 {answer.status} {answer.reason}",
                [f"{n}: {it}" for n, it in answer.headers.items() if n.lower() not in HOP_BY_HOP],
                await answer.read(),
            )


def kind_of(path: str) -> Kind:
    place = path.partition("?")[0]
    if place.startswith("/oauth/"):
        return "token"
    if place.startswith("/rest/"):
        return "video"
    return "playlist" if place.endswith(".m3u8") else "bytes"


@asynccontextmanager
async def a_wire(sandbox: str, tls: ssl.SSLContext) -> AsyncIterator[Wire]:
    """Run a wire to a sandbox on https://localhost."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        wire = Wire(sandbox, tls, session)
        wire.listen()
        try:
            yield wire
        finally:
            await wire.stop_listening()
            await wire.hang_up_all()
            await asyncio.sleep(GOODBYE)
