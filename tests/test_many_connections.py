"""Connections that only are there, and some that say their piece byte by byte: plays go on."""

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
from processes import EdgeProcess, in_front_of
from support import SANDBOX_TOML, eventually, skip_or_fail
from yarl import URL

from proxy.adapters.clock import Clock
from proxy.edge.token_minter import TokenMinter
from proxy.settings import load_settings
from proxy.web.connection import HEADER_TIMEOUT_SECONDS

IDLE, SLOW = 10_000, 1_000
AT_ONCE = 200  # that connect: fewer than the backlog
NEEDED = IDLE + SLOW + 1_000  # descriptors, on both sides
PLAYS = 200
# Beside the crowd, of the middle play's time; what a busy machine does to both is in neither.
SLOWER = 5

QUESTION = b"OPTIONS /play/x8demo1.m3u8 HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def many_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < NEEDED:
        skip_or_fail(f"a process may have {hard} descriptors only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def connected(port: int) -> socket.socket:
    opened = socket.socket()
    opened.settimeout(0)
    try:
        await asyncio.get_running_loop().sock_connect(opened, ("127.0.0.1", port))
    except BaseException:  # given up, too
        opened.close()
        raise
    return opened


async def ask(opened: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(opened, QUESTION)
    return await loop.sock_recv(opened, 4096)


async def keep_dribbling(port: int, cuts: list[OSError]) -> None:
    """Say a head byte by byte; where that is cut off, note it and begin again."""
    loop = asyncio.get_running_loop()
    while True:
        with await connected(port) as opened:
            try:
                for n in range(len(QUESTION) - 1):
                    await loop.sock_sendall(opened, QUESTION[n : n + 1])
                    await asyncio.sleep(1)
            except OSError as error:
                cuts.append(error)
        await asyncio.sleep(1)


@asynccontextmanager
async def a_crowd(port: int, cuts: list[OSError]) -> AsyncIterator[list[socket.socket]]:
    """Have connections that were of use once, and others that never come to be."""
    idle: list[socket.socket] = []
    slow = [asyncio.create_task(keep_dribbling(port, cuts)) for _ in range(SLOW)]
    try:
        while len(idle) < IDLE:
            idle += await asyncio.gather(*(connected(port) for _ in range(AT_ONCE)))
            await asyncio.gather(*map(ask, idle[-AT_ONCE:]))
        yield idle
    finally:
        for task in slow:
            task.cancel()
        ended = await asyncio.gather(*slow, return_exceptions=True)
        for opened in idle:
            opened.close()
    assert {type(it) for it in ended} == {asyncio.CancelledError}  # they went on to the end


async def seconds_of_plays(edge: EdgeProcess) -> list[float]:
    """Return how long plays take, each of another viewer; all are answered as they should be."""
    token = TokenMinter(load_settings(SANDBOX_TOML), Clock()).mint(video="x8demo1").token
    url = URL(f"http://127.0.0.1:{edge.player}/play/x8demo1.m3u8?token={token}", encoded=True)
    taken = []
    async with aiohttp.ClientSession() as session:
        for n in range(PLAYS):
            began, headers = perf_counter(), {"X-Forwarded-For": f"8.8.{n // 250}.{n % 250 + 1}"}
            async with session.get(url, headers=headers, allow_redirects=False) as answer:
                assert answer.status == 302, await answer.text()
            taken.append(perf_counter() - began)
    return taken


def descriptors_of(edge: EdgeProcess) -> int:
    return sum(1 for _ in Path(f"/proc/{edge.process.process.pid}/fd").iterdir())


async def test_thousands_of_idle_and_slow_connections_do_not_slow_plays_down(sandbox, many_descriptors):
    edge = EdgeProcess(
        {**in_front_of(sandbox), "PLAYGATE_VIEWER__TRUSTED_PROXIES": '["127.0.0.1"]'}
    )
    async with edge.stack:
        await edge.start()
        alone = await seconds_of_plays(edge)
        cuts: list[OSError] = []
        async with a_crowd(edge.player, cuts) as idle:
            # Half of the slow ones: the others may be just coming back.
            await eventually(
                lambda: descriptors_of(edge) >= IDLE + SLOW // 2, 5 * HEADER_TIMEOUT_SECONDS
            )
            await eventually(
                lambda: len(cuts) >= SLOW, 5 * HEADER_TIMEOUT_SECONDS
            )  # and they come back
            beside = await seconds_of_plays(edge)
            again = await asyncio.gather(*map(ask, idle[:: IDLE // 100]))
        await eventually(lambda: descriptors_of(edge) < IDLE // 100, 60)
        afterwards = await seconds_of_plays(edge)

    assert all(answer.startswith(b"HTTP/1.1 204") for answer in again)
    assert median(beside) < SLOWER * max(median(alone), median(afterwards))
    assert '"level": "error"' not in edge.process.output
