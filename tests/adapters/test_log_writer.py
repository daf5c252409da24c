"""Log lines: nobody waits for who reads them."""

import asyncio
import io
import os
from pathlib import Path
from threading import Event, Thread, Timer

import aiohttp
import pytest
from ports import free_port
from processes import in_front_of, playgate
from support import SANDBOX_TOML, eventually

from proxy.adapters.log_writer import open_log_writer

PIPE = 64 * 1024  # bytes that Linux keeps for a reader who does not read


def test_all_lines_are_written_in_order_before_the_writer_closes():
    stream = io.StringIO()
    with open_log_writer(stream) as writer:
        for n in range(1000):
            writer.write(f"{n}\n")

    assert stream.getvalue() == "".join(f"{n}\n" for n in range(1000))


def test_a_stalled_reader_causes_dropped_lines_but_no_delay():
    reading, written = os.pipe()
    lost: list[int] = []
    taken: list[str] = []
    line = "x" * 1023 + "\n"
    with os.fdopen(reading) as reader:
        with os.fdopen(written, "w") as stream, open_log_writer(stream, max_lines=100) as writer:
            writer.count_lost = lost.append
            for _ in range(1000):  # this would never end where somebody waits for the reader
                writer.write(line)
            returning = Thread(target=lambda: taken.extend(reader))
            returning.start()
        returning.join(20)

    assert sum(lost) + len(taken) == 1000
    assert PIPE // len(line) <= len(taken) <= PIPE // len(line) + 300
    assert set(taken) == {line}


class StuckOnce(io.StringIO):
    """A stream whose first write waits for its reader."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.is_read = Event(), Event()

    def write(self, text: str) -> int:
        self.begun.set()
        assert self.is_read.wait(20)
        return super().write(text)


def test_lines_queued_during_a_blocked_write_are_written_on_close():
    stream = StuckOnce()
    with open_log_writer(stream) as writer:
        writer.write("1\n")
        assert stream.begun.wait(20)
        writer.write("2\n")
        Timer(0.1, stream.is_read.set).start()

    assert stream.getvalue() == "1\n2\n"


def test_lines_that_do_not_fit_on_a_full_disk_are_counted_as_lost():
    lost: list[int] = []
    with pytest.raises(OSError, match="No space"):  # when it is closed, and not before
        write_to_a_full_disk(lost)

    assert lost == [1]


def write_to_a_full_disk(lost: list[int]) -> None:
    with Path("/dev/full").open("w") as stream, open_log_writer(stream) as writer:
        writer.count_lost = lost.append
        writer.write("lost\n")


async def test_an_edge_responds_while_nobody_reads_its_log(sandbox):
    """Its pipe is full after two hundred of them."""
    player, operator = free_port(), free_port()
    ports = {
        "PLAYGATE_WEB__LISTEN": f"127.0.0.1:{player}",
        "PLAYGATE_OPERATOR__LISTEN": f"127.0.0.1:{operator}",
    }
    unread, lines = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *playgate("serve", "--config", SANDBOX_TOML),
        stdout=lines,
        env={**os.environ, **in_front_of(sandbox), **ports},
    )
    try:
        async with aiohttp.ClientSession() as session:

            async def status() -> int:
                try:
                    async with session.get(f"http://127.0.0.1:{player}/play/x8demo1.m3u8") as it:
                        return it.status
                except aiohttp.ClientConnectionError:
                    return 0

            await eventually(status)
            assert [await status() for _ in range(500)] == [401] * 500
    finally:
        process.kill()
        await process.wait()
        os.close(lines)
        os.close(unread)
