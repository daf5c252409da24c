"""Large playlists are read one at a time, and nobody waits for another's second one."""

import asyncio
import threading

import pytest
from support import eventually

from proxy.domain.reasons import Refusal
from proxy.edge import playlist_checker
from proxy.edge.playlist_checker import MIN_THREAD_BYTES, PlaylistThread


class Work:
    """What a thread is given to do: it waits until it is let go."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.go = threading.Semaphore(0)

    def named(self, name):
        def run() -> str:
            self.began.append(name)
            assert self.go.acquire(timeout=60)
            return name

        return run


async def test_owners_take_turns():
    thread, work = PlaylistThread(), Work()
    asked = ["a1", "a2", "a3", "b1", "c1", "b2"]
    tasks = [
        asyncio.create_task(thread.run(MIN_THREAD_BYTES, work.named(name), owner=name[0]))
        for name in asked
    ]
    for done in range(1, 7):
        await eventually(lambda done=done: len(work.began) == done)
        work.go.release()
    assert await asyncio.gather(*tasks) == asked
    assert work.began == ["a1", "b1", "c1", "a2", "b2", "a3"]


async def test_cancelled_work_neither_stops_nor_multiplies_the_thread():
    thread, work = PlaylistThread(), Work()
    given_up = [
        asyncio.create_task(thread.run(MIN_THREAD_BYTES, work.named(f"{n}"), owner=n))
        for n in range(20)
    ]
    await eventually(lambda: work.began == ["0"])
    for task in given_up:
        task.cancel()
    await asyncio.gather(*given_up, return_exceptions=True)
    last = asyncio.create_task(thread.run(MIN_THREAD_BYTES, work.named("last"), owner="a"))
    await asyncio.sleep(0.05)
    assert work.began == ["0"], "one at a time"
    work.go.release(2)
    assert await last == "last"
    assert work.began == ["0", "last"]


async def test_time_in_the_queue_does_not_count_as_parse_time(monkeypatch):
    monkeypatch.setattr(playlist_checker, "MAX_PARSE_SECONDS", 0.3)
    thread, work = PlaylistThread(), Work()
    slow = asyncio.create_task(thread.run(MIN_THREAD_BYTES, work.named("slow"), owner=1))
    await eventually(lambda: work.began == ["slow"])
    waiting = asyncio.create_task(thread.run(MIN_THREAD_BYTES, lambda: "read", owner=2))
    with pytest.raises(Refusal, match="playlist-invalid"):
        await slow
    work.go.release()
    assert await waiting == "read"
