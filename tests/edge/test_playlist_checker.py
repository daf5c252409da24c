"""Large playlists are read one at a time, and owners take turns."""

import asyncio
import threading

import pytest
from support import wait_until

from proxy.domain.reasons import Refusal
from proxy.edge import playlist_checker
from proxy.edge.playlist_checker import MIN_THREAD_BYTES, PlaylistThread


class Work:
    """Work for the thread that blocks until a test releases `go`."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.go = threading.Semaphore(0)

    def make(self, name):
        def run() -> str:
            self.started.append(name)
            assert self.go.acquire(timeout=60)
            return name

        return run


async def test_owners_take_turns():
    thread, work = PlaylistThread(), Work()
    names = ["a1", "a2", "a3", "b1", "c1", "b2"]
    tasks = [
        asyncio.create_task(thread.run(MIN_THREAD_BYTES, work.make(name), owner=name[0]))
        for name in names
    ]
    for done in range(1, 7):
        await wait_until(lambda done=done: len(work.started) == done)
        work.go.release()
    assert await asyncio.gather(*tasks) == names
    assert work.started == ["a1", "b1", "c1", "a2", "b2", "a3"]


async def test_cancelled_work_neither_stops_nor_multiplies_the_thread():
    thread, work = PlaylistThread(), Work()
    cancelled = [
        asyncio.create_task(thread.run(MIN_THREAD_BYTES, work.make(f"{n}"), owner=n))
        for n in range(20)
    ]
    await wait_until(lambda: work.started == ["0"])
    for task in cancelled:
        task.cancel()
    await asyncio.gather(*cancelled, return_exceptions=True)
    last = asyncio.create_task(thread.run(MIN_THREAD_BYTES, work.make("last"), owner="a"))
    await asyncio.sleep(0.05)
    assert work.started == ["0"], "the thread must run one playlist at a time"
    work.go.release(2)
    assert await last == "last"
    assert work.started == ["0", "last"]


async def test_time_in_the_queue_does_not_count_as_parse_time(monkeypatch):
    monkeypatch.setattr(playlist_checker, "MAX_PARSE_SECONDS", 0.3)
    thread, work = PlaylistThread(), Work()
    slow = asyncio.create_task(thread.run(MIN_THREAD_BYTES, work.make("slow"), owner=1))
    await wait_until(lambda: work.started == ["slow"])
    waiting = asyncio.create_task(thread.run(MIN_THREAD_BYTES, lambda: "read", owner=2))
    with pytest.raises(Refusal, match="playlist-invalid"):
        await slow
    work.go.release()
    assert await waiting == "read"
