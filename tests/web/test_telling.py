"""What is told of requests: behind their answers, of each of them."""

from __future__ import annotations

import asyncio
import io
import json

from proxy.adapters.logs import build_logger
from proxy.adapters.metrics import Metrics
from proxy.web.telling import Answered, Telling
from proxy.web.trace import Trace


def answered(request_id: str, status: int = 302) -> Answered:
    trace = Trace(request_id=request_id, peer=None, is_from_proxy=True, status=status)
    return Answered("play", "GET", trace)


async def test_requests_are_told_of_behind_their_answers_in_order():
    lines, metrics = io.StringIO(), Metrics()
    telling = Telling(metrics, build_logger(lines))

    telling.note(answered("one"))
    telling.note(answered("two"))
    assert lines.getvalue() == ""
    await asyncio.sleep(0)
    telling.note(answered("three"))
    await asyncio.sleep(0)

    told = [json.loads(line)["request_id"] for line in lines.getvalue().splitlines()]
    assert told == ["one", "two", "three"]
    assert b'playgate_plays_total{outcome="redirected"} 3.0' in metrics.render()


async def test_a_bug_in_the_telling_of_one_is_none_in_that_of_others():
    lines, bugs = io.StringIO(), []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, told: bugs.append(told))
    telling = Telling(Metrics(), build_logger(lines))

    telling.note(Answered("play", "GET", None))  # type: ignore[arg-type]
    telling.note(answered("two"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert len(bugs) == 1
    assert json.loads(lines.getvalue())["request_id"] == "two"
