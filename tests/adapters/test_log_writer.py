"""The log writer: a stalled reader or a full disk delays nothing."""

import asyncio
import io
import os
from pathlib import Path
from threading import Event, Thread, Timer

import aiohttp
import pytest
from ports import free_port
from processes import build_edge_environment, playgate
from support import SANDBOX_TOML, wait_until

from proxy.adapters.log_writer import open_log_writer

PIPE_BYTES = 64 * 1024  # the capacity of a pipe on Linux


def test_all_lines_are_written_in_order_before_the_writer_closes():
    stream = io.StringIO()
    with open_log_writer(stream) as writer:
        for n in range(1000):
            writer.write(f"{n}\n")

    assert stream.getvalue() == "".join(f"{n}\n" for n in range(1000))


def test_a_stalled_reader_causes_dropped_lines_but_no_delay():
    reading, written = os.pipe()
    lost: list[int] = []
    received: list[str] = []
    line = "x" * 1023 + "\n"
    with os.fdopen(reading) as reader:
        with os.fdopen(written, "w") as stream, open_log_writer(stream, max_lines=100) as writer:
            writer.count_dropped = lost.append
            for _ in range(1000):  # would block for ever if writing waited for the reader
                writer.write(line)
            reading_thread = Thread(target=lambda: received.extend(reader))
            reading_thread.start()
        reading_thread.join(20)

    assert sum(lost) + len(received) == 1000
    assert PIPE_BYTES // len(line) <= len(received) <= PIPE_BYTES // len(line) + 300
    assert set(received) == {line}


class BlockingStream(io.StringIO):
    """A stream whose writes block until `is_read` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.has_begun, self.is_read = Event(), Event()

    def write(self, text: str) -> int:
        self.has_begun.set()
        assert self.is_read.wait(20)
        return super().write(text)


def test_lines_queued_during_a_blocked_write_are_written_on_close():
    stream = BlockingStream()
    with open_log_writer(stream) as writer:
        writer.write("1\n")
        assert stream.has_begun.wait(20)
        writer.write("2\n")
        Timer(0.1, stream.is_read.set).start()

    assert stream.getvalue() == "1\n2\n"


def test_lines_that_do_not_fit_on_a_full_disk_are_counted_as_lost():
    lost: list[int] = []
    with pytest.raises(OSError, match="No space"):  # only when the file is closed
        write_to_a_full_disk(lost)

    assert lost == [1]


def write_to_a_full_disk(lost: list[int]) -> None:
    with Path("/dev/full").open("w") as stream, open_log_writer(stream) as writer:
        writer.count_dropped = lost.append
        writer.write("lost\n")


async def test_an_edge_responds_while_nobody_reads_its_log(sandbox):
    """The pipe is full after two hundred lines."""
    player, operator = free_port(), free_port()
    ports = {
        "PLAYGATE_WEB__LISTEN": f"127.0.0.1:{player}",
        "PLAYGATE_OPERATOR__LISTEN": f"127.0.0.1:{operator}",
    }
    unread, lines = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *playgate("serve", "--config", SANDBOX_TOML),
        stdout=lines,
        env={**os.environ, **build_edge_environment(sandbox), **ports},
    )
    try:
        async with aiohttp.ClientSession() as session:

            async def fetch_status() -> int:
                url = f"http://127.0.0.1:{player}/play/x8demo1.m3u8"
                try:
                    async with session.get(url) as response:
                        return response.status
                except aiohttp.ClientConnectionError:
                    return 0

            await wait_until(fetch_status)
            assert [await fetch_status() for _ in range(500)] == [401] * 500
    finally:
        process.kill()
        await process.wait()
        os.close(lines)
        os.close(unread)
