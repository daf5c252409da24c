"""Clients that read slowly or not at all, and request bodies that do not arrive or are ambiguous."""

import asyncio
import contextlib
import socket
import time

import pytest
from support import OPERATOR_KEY, run_test_edge, run_test_sandbox, wait_until

from proxy.adapters.event_loop import Loop
from proxy.web import connection, request_parsing
from proxy.web.connection import PORT


@pytest.fixture(autouse=True)
def shorten_timeouts(monkeypatch):
    monkeypatch.setattr(connection, "WRITE_TIMEOUT_SECONDS", 1.0)
    monkeypatch.setattr(connection, "CHECK_INTERVAL_SECONDS", 0.1)
    monkeypatch.setattr(request_parsing, "BODY_TIMEOUT_SECONDS", 0.5)


async def flood(port: int, request: bytes, times: int) -> socket.socket:
    """Send requests without reading responses. Small kernel buffers make the edge block soon."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(0)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, ("127.0.0.1", port))
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(2):  # the edge stops reading while it cannot write
            await loop.sock_sendall(client, request * times)
    return client


def count_connections(edge, port: str) -> int:
    app = getattr(edge.edge.apps, port)
    return len(app[PORT].connections)


async def has_no_connections(edge, port):
    return count_connections(edge, port) == 0


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, Loop])
@pytest.mark.parametrize("port", ["player", "operator"])
@pytest.mark.parametrize("ending", ["keep-alive", "close"])
async def test_a_client_that_never_reads_is_disconnected(loop, port, ending):
    """Also on the event loop of `serve`, whose transports are not subclasses of asyncio's."""
    path = b"/openapi.json"
    request = b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path
    if ending == "close":
        request += b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path

    async def scenario() -> None:
        async with run_test_sandbox() as sandbox, run_test_edge(sandbox) as edge:
            tcp_port = getattr(edge.edge, port).port
            clients = [await flood(tcp_port, request, 300) for _ in range(5)]
            assert count_connections(edge, port) >= 1  # the first may be closed by now
            await wait_until(lambda: has_no_connections(edge, port), seconds=30)
            for client in clients:
                client.close()
            assert edge.lines("internal") == []
            assert (await edge.play()).status == 302

    def run() -> None:
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(scenario())

    await asyncio.to_thread(run)


async def test_a_client_that_reads_slowly_stays_connected(edge):
    """The client reads one buffer per timeout, so the connection outlives several timeouts."""
    request = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
    client = await flood(edge.edge.player.port, request, 200)
    loop = asyncio.get_running_loop()
    deadline = time.monotonic() + 4
    while time.monotonic() < deadline:
        chunk = await loop.sock_recv(client, 65536)
        assert chunk, "disconnected although the client reads"
        await asyncio.sleep(0.02)
    client.close()
    await wait_until(lambda: has_no_connections(edge, "player"), seconds=30)


@pytest.mark.parametrize("path", ["/tokens", "/revocations"])
async def test_an_incomplete_body_is_refused_after_the_timeout(edge, path):
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.edge.operator.port)
    writer.write(
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {OPERATOR_KEY}\r\n"
        'Content-Length: 100\r\n\r\n{"video"'.encode()
    )
    response = await asyncio.wait_for(reader.read(), 20)
    assert response.startswith(b"HTTP/1.1 400 "), response
    assert b"did not arrive within" in response
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
async def test_a_body_with_duplicate_members_or_invalid_json_is_refused(edge, body):
    headers = {"Authorization": f"Bearer {OPERATOR_KEY}"}
    data = body.encode("latin-1")
    for path in ("/tokens", "/revocations"):
        response = await edge.get(
            f"{edge.operator}{path}", method="POST", data=data, headers=headers
        )
        assert (response.status, response.reason) == (400, "request-invalid")
        assert "without duplicate members" in response.json["detail"]
