"""An https proxy in front of a sandbox that can break the edge's exchanges with Dailymotion."""

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

CallKind = Literal["token", "video", "playlist", "bytes"]
CALL_KINDS: tuple[CallKind, ...] = get_args(CallKind)

BACKLOG = 1024
TLS_CLOSE_SECONDS = 0.5  # for the close_notify of TLS
HOP_BY_HOP = {"connection", "content-length", "date", "host", "server", "transfer-encoding"}


@dataclass(frozen=True, slots=True)
class UpstreamResponse:
    """The sandbox's response, which the wire should send."""

    status: str  # the status line
    headers: list[str]
    body: bytes

    @property
    def header_block(self) -> bytes:
        """The status line and the headers, with the right Content-Length."""
        return self.build_header_block(f"Content-Length: {len(self.body)}")

    def build_header_block(self, *lines: str) -> bytes:
        """Return the status line and the headers, with `lines` in place of Content-Length."""
        return "\r\n".join([self.status, *self.headers, *lines, "", ""]).encode()


@dataclass(slots=True)
class Connection:
    """A TLS connection that the edge has opened."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        if self.writer.is_closing():  # asyncio would silently drop the data
            raise ConnectionResetError
        self.writer.write(data)
        await self.writer.drain()
        await asyncio.sleep(0)

    async def drip(self, data: bytes) -> None:
        """Send one byte every 0.1 s."""
        for n in range(len(data)):
            await self.send(data[n : n + 1])
            await asyncio.sleep(0.1)

    async def stall(self) -> None:
        """Send nothing more until the edge closes the connection."""
        await self.reader.read()

    def reset(self) -> None:
        reset(self.writer.get_extra_info("socket"))
        self.writer.transport.abort()

    def close(self) -> None:
        self.writer.close()


def reset(connection: socket.socket) -> None:
    """Make the close of a socket reset its connection instead of ending the data sent."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


# Handles a request in place of sending the response; the connection is closed afterwards.
Exchange = Callable[[Connection, UpstreamResponse], Awaitable[None]]
# Handles a new connection in place of the TLS handshake.
Handshake = Callable[[socket.socket], Awaitable[None]]


@dataclass(slots=True)
class Wire:
    """Listens in place of Dailymotion and its CDN, and forwards requests to a sandbox."""

    sandbox: str  # its origin
    tls: ssl.SSLContext  # with the certificate of `host`
    session: aiohttp.ClientSession
    port: int = field(default_factory=free_port)
    exchanges: dict[CallKind, Exchange] = field(default_factory=dict)
    handshake: Handshake | None = None
    broken_count: int = 0  # broken exchanges and handshakes so far
    _listener: socket.socket | None = None
    _accepting: asyncio.Task[None] | None = None
    _serving: set[asyncio.Task[None]] = field(default_factory=set)
    _idle: set[asyncio.Task[None]] = field(default_factory=set)  # tasks that wait for a request

    @property
    def host(self) -> str:
        return f"localhost:{self.port}"

    def listen(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(BACKLOG)
        listener.settimeout(0)
        self._listener, self.port = listener, listener.getsockname()[1]
        self._accepting = asyncio.create_task(self._accept(listener))

    async def stop_listening(self) -> None:
        assert self._accepting is not None and self._listener is not None
        self._accepting.cancel()
        await asyncio.gather(self._accepting, return_exceptions=True)
        self._listener.close()

    async def close_idle(self) -> None:
        """Close idle connections only; the edge may be refreshing its access token on another."""
        await self._cancel(self._idle)

    async def close_all(self) -> None:
        """Close all connections."""
        await asyncio.sleep(0)  # let the tasks of new connections start, or their sockets stay open
        await self._cancel(self._serving)

    async def _cancel(self, tasks: set[asyncio.Task[None]]) -> None:
        to_cancel = list(tasks)
        for task in to_cancel:
            task.cancel()
        await asyncio.gather(*to_cancel, return_exceptions=True)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(listener)
            task = asyncio.create_task(self._serve(connection))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)

    async def _serve(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        if self.handshake is not None:
            self.broken_count += 1
            with connection, suppress(OSError):
                await self.handshake(connection)
            return
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        try:
            transport, _ = await loop.connect_accepted_socket(
                lambda: protocol, connection, ssl=self.tls, ssl_shutdown_timeout=TLS_CLOSE_SECONDS
            )
        except (OSError, asyncio.CancelledError):  # the edge rejects the certificate
            connection.close()
            return
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        try:
            await self._respond_to_all(Connection(reader, writer))
        except (OSError, asyncio.IncompleteReadError):
            pass  # the edge has closed the connection
        finally:
            if not transport.is_closing():
                transport.abort()

    async def _respond_to_all(self, connection: Connection) -> None:
        while True:
            lines = (await self._read_header_block(connection)).decode().split("\r\n")
            method, path, _ = lines[0].split(" ")
            headers = dict(line.split(": ", 1) for line in lines[1:] if line)
            lowercase = {name.lower(): value for name, value in headers.items()}
            length = int(lowercase.get("content-length", 0))
            body = await connection.reader.readexactly(length)
            response = await self._forward(method, path, headers, body)
            if (exchange := self.exchanges.get(find_call_kind(path))) is not None:
                self.broken_count += 1
                await exchange(connection, response)
                return
            await connection.send(response.header_block + response.body)

    async def _read_header_block(self, connection: Connection) -> bytes:
        task = asyncio.current_task()
        assert task is not None
        self._idle.add(task)
        try:
            return await connection.reader.readuntil(b"\r\n\r\n")
        finally:
            self._idle.discard(task)

    async def _forward(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> UpstreamResponse:
        end_to_end = {
            name: value for name, value in headers.items() if name.lower() not in HOP_BY_HOP
        }
        async with self.session.request(
            method,
            URL(self.sandbox + path, encoded=True),
            headers=end_to_end,
            data=body or None,
            allow_redirects=False,
        ) as response:
            return UpstreamResponse(
                f"HTTP/1.1 {response.status} {response.reason}",
                [
                    f"{name}: {value}"
                    for name, value in response.headers.items()
                    if name.lower() not in HOP_BY_HOP
                ],
                await response.read(),
            )


def find_call_kind(path: str) -> CallKind:
    """Return the kind of call that a request path belongs to."""
    path_only = path.partition("?")[0]
    if path_only.startswith("/oauth/"):
        return "token"
    if path_only.startswith("/rest/"):
        return "video"
    return "playlist" if path_only.endswith(".m3u8") else "bytes"


@asynccontextmanager
async def run_wire(sandbox: str, tls: ssl.SSLContext) -> AsyncIterator[Wire]:
    """Run a wire on https://localhost in front of a sandbox."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        wire = Wire(sandbox, tls, session)
        wire.listen()
        try:
            yield wire
        finally:
            await wire.stop_listening()
            await wire.close_all()
            await asyncio.sleep(TLS_CLOSE_SECONDS)
