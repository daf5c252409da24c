"""Clients that do not read, and bodies that do not come."""

import asyncio
import contextlib
import socket
import time

import pytest
from support import OPERATOR_KEY, a_sandbox, an_edge, eventually

from proxy.adapters.event_loop import Loop
from proxy.web import connection, request_parsing
from proxy.web.connection import PORT


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(connection, "WRITE_TIMEOUT_SECONDS", 1.0)
    monkeypatch.setattr(connection, "CHECK_INTERVAL_SECONDS", 0.1)
    monkeypatch.setattr(request_parsing, "BODY_TIMEOUT_SECONDS", 0.5)


async def flood(port: int, request: bytes, times: int) -> socket.socket:
    """Send requests and read nothing; the buffers of the kernel are small."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(0)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, ("127.0.0.1", port))
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(2):  # the edge reads no further once it may not write
            await loop.sock_sendall(client, request * times)
    return client


def connections(edge, port: str) -> int:
    app = getattr(edge.edge.apps, port)
    return len(app[PORT].connections)


async def none_left(edge, port):
    return connections(edge, port) == 0


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, Loop])
@pytest.mark.parametrize("port", ["player", "operator"])
@pytest.mark.parametrize("ending", ["keep-alive", "close"])
async def test_a_client_that_never_reads_is_cut_off(loop, port, ending):
    """On the loop that `serve` runs, too, whose transports are none of asyncio's."""
    path = b"/openapi.json"
    request = b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path
    if ending == "close":
        request += b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path

    async def scenario() -> None:
        async with a_sandbox() as sandbox, an_edge(sandbox) as edge:
            number = getattr(edge.edge, port).port
            clients = [await flood(number, request, 300) for _ in range(5)]
            assert connections(edge, port) >= 1  # the first may be gone by now
            await eventually(lambda: none_left(edge, port), seconds=30)
            for client in clients:
                client.close()
            assert edge.lines("internal") == []
            assert (await edge.play()).status == 302

    def run() -> None:
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(scenario())

    await asyncio.to_thread(run)


async def test_a_client_that_reads_slowly_but_reads_is_left_alone(edge):
    """A buffer full within the timeout: the connection outlives several of them."""
    request = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
    client = await flood(edge.edge.player.port, request, 200)
    loop = asyncio.get_running_loop()
    until, size = time.monotonic() + 4, 0
    while time.monotonic() < until:
        chunk = await loop.sock_recv(client, 65536)
        assert chunk, "cut off though it reads"
        size += len(chunk)
        await asyncio.sleep(0.02)
    client.close()
    await eventually(lambda: none_left(edge, "player"), seconds=30)


@pytest.mark.parametrize("path", ["/tokens", "/revocations"])
async def test_a_body_that_does_not_come_is_refused(edge, path):
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.edge.operator.port)
    writer.write(
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {OPERATOR_KEY}\r\n"
        'Content-Length: 100\r\n\r\n{"video"'.encode()
    )
    answer = await asyncio.wait_for(reader.read(), 20)
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert b"did not arrive within" in answer
    writer.close()


@pytest.mark.parametrize(
    "body",
    [
        '{"video": "x8demo1", "video": "x8live1"}',
        '{"video": "x8demo1", "ttl": 1, "ttl": 300}',
        '{"video": "x8demo1", "fmt": ["hls"], "fmt": ["mp4"]}',
        '{"sub": "a", "sub": "b"}',
        '{"jti": "a", "before": 1, "before": 2}',
        "[" * 16_000,
        '{"video": NaN}',
        "\xff",
    ],
)
async def test_a_body_that_two_readers_could_read_differently_is_refused(edge, body):
    headers = {"Authorization": f"Bearer {OPERATOR_KEY}"}
    data = body.encode("latin-1")
    for path in ("/tokens", "/revocations"):
        answer = await edge.get(f"{edge.operator}{path}", method="POST", data=data, headers=headers)
        assert (answer.status, answer.reason) == (400, "request-invalid")
        assert "no member twice" in answer.json["detail"]
