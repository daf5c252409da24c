"""Plays continue while thousands of connections are idle or send their headers byte by byte."""

import asyncio
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from time import perf_counter

import aiohttp
import pytest
from processes import EdgeProcess, build_edge_environment
from support import build_sandbox_minter, skip_or_fail, wait_until
from yarl import URL

from proxy.web.connection import HEADER_TIMEOUT_SECONDS

IDLE_CONNECTIONS, SLOW_CONNECTIONS = 10_000, 1_000
MAX_CONNECTING = 200  # connections opened at once; fewer than the listen backlog
NEEDED_DESCRIPTORS = IDLE_CONNECTIONS + SLOW_CONNECTIONS + 1_000  # in the test and in the edge each
PLAYS = 200
# Allowed ratio of the median play duration with and without the connections. The median keeps the
# outliers of a busy machine out of both figures.
MAX_SLOWDOWN = 5

REQUEST = b"OPTIONS /play/x8demo1.m3u8 HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def many_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < NEEDED_DESCRIPTORS:
        skip_or_fail(f"the limit of {hard} descriptors per process is too low")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def connect(port: int) -> socket.socket:
    connection = socket.socket()
    connection.settimeout(0)
    try:
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
    except BaseException:  # including cancellation
        connection.close()
        raise
    return connection


async def send_request(connection: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(connection, REQUEST)
    return await loop.sock_recv(connection, 4096)


async def keep_sending_slowly(port: int, disconnects: list[OSError]) -> None:
    """Send request headers byte by byte; after each disconnect, record it and start again."""
    loop = asyncio.get_running_loop()
    while True:
        with await connect(port) as connection:
            try:
                for n in range(len(REQUEST) - 1):
                    await loop.sock_sendall(connection, REQUEST[n : n + 1])
                    await asyncio.sleep(1)
            except OSError as error:
                disconnects.append(error)
        await asyncio.sleep(1)


@asynccontextmanager
async def open_many_connections(
    port: int, disconnects: list[OSError]
) -> AsyncIterator[list[socket.socket]]:
    """Keep idle connections after one request each, and slow ones that never complete theirs."""
    idle: list[socket.socket] = []
    slow = [
        asyncio.create_task(keep_sending_slowly(port, disconnects)) for _ in range(SLOW_CONNECTIONS)
    ]
    try:
        while len(idle) < IDLE_CONNECTIONS:
            idle += await asyncio.gather(*(connect(port) for _ in range(MAX_CONNECTING)))
            await asyncio.gather(*map(send_request, idle[-MAX_CONNECTING:]))
        yield idle
    finally:
        for task in slow:
            task.cancel()
        results = await asyncio.gather(*slow, return_exceptions=True)
        for connection in idle:
            connection.close()
    # The slow connections continued until they were cancelled.
    assert {type(result) for result in results} == {asyncio.CancelledError}


async def measure_plays(edge: EdgeProcess) -> list[float]:
    """Return the durations in seconds of plays by different viewers; all must succeed."""
    token = build_sandbox_minter().mint(video="x8demo1").token
    url = URL(f"http://127.0.0.1:{edge.player}/play/x8demo1.m3u8?token={token}", encoded=True)
    durations = []
    async with aiohttp.ClientSession() as session:
        for n in range(PLAYS):
            started, headers = perf_counter(), {"X-Forwarded-For": f"8.8.{n // 250}.{n % 250 + 1}"}
            async with session.get(url, headers=headers, allow_redirects=False) as response:
                assert response.status == 302, await response.text()
            durations.append(perf_counter() - started)
    return durations


def count_descriptors(edge: EdgeProcess) -> int:
    return sum(1 for _ in Path(f"/proc/{edge.process.process.pid}/fd").iterdir())


async def test_thousands_of_idle_and_slow_connections_do_not_slow_plays_down(
    sandbox, many_descriptors
):
    edge = EdgeProcess(
        {**build_edge_environment(sandbox), "PLAYGATE_VIEWER__TRUSTED_PROXIES": '["127.0.0.1"]'}
    )
    async with edge.stack:
        await edge.start()
        before = await measure_plays(edge)
        disconnects: list[OSError] = []
        async with open_many_connections(edge.player, disconnects) as idle:
            # At least half of the slow connections: the others may be reconnecting.
            await wait_until(
                lambda: count_descriptors(edge) >= IDLE_CONNECTIONS + SLOW_CONNECTIONS // 2,
                5 * HEADER_TIMEOUT_SECONDS,
            )
            await wait_until(
                lambda: len(disconnects) >= SLOW_CONNECTIONS, 5 * HEADER_TIMEOUT_SECONDS
            )
            meanwhile = await measure_plays(edge)
            responses = await asyncio.gather(*map(send_request, idle[:: IDLE_CONNECTIONS // 100]))
        await wait_until(lambda: count_descriptors(edge) < IDLE_CONNECTIONS // 100, 60)
        afterwards = await measure_plays(edge)

    assert all(response.startswith(b"HTTP/1.1 204") for response in responses)
    assert median(meanwhile) < MAX_SLOWDOWN * max(median(before), median(afterwards))
    assert '"level": "error"' not in edge.process.output
