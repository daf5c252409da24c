"""What is told of requests: behind their answers, of each of them."""

import asyncio
import io
import json
from dataclasses import replace

from proxy.adapters.logs import build_logger
from proxy.adapters.telemetry import build_telemetry
from proxy.web.access_log import AccessLog, FinishedRequest
from proxy.web.request_context import RequestContext
from proxy.web.routes import PLAYER_PORT


def answered(request_id: str, status: int = 302) -> FinishedRequest:
    context = RequestContext(request_id=request_id, peer=None, is_from_proxy=True)
    return FinishedRequest(
        route=PLAYER_PORT[0], method="GET", status=status, duration=0.1, context=context
    )


async def test_requests_are_told_of_behind_their_answers_in_order():
    lines = io.StringIO()
    telemetry = build_telemetry(build_logger(lines))
    telling = AccessLog(telemetry)

    telling.add(answered("one"))
    telling.add(answered("two"))
    assert lines.getvalue() == ""
    await asyncio.sleep(0)
    telling.add(answered("three"))
    await asyncio.sleep(0)

    told = [json.loads(line)["request_id"] for line in lines.getvalue().splitlines()]
    assert told == ["one", "two", "three"]
    assert b'playgate_plays_total{outcome="redirected"} 3.0' in telemetry.metrics.render()


async def test_a_bug_in_the_telling_of_one_is_told_too_and_none_in_that_of_others():
    lines = io.StringIO()
    telling = AccessLog(build_telemetry(build_logger(lines)))
    broken = replace(answered("one"), duration="a while")

    telling.add(broken)
    telling.add(answered("two"))
    await asyncio.sleep(0)

    bug, line = map(json.loads, lines.getvalue().splitlines())
    assert (bug["event"], bug["task"], bug["request_id"]) == ("internal", "telling", "one")
    assert bug["exception"][0]["exc_type"] == "TypeError"
    assert line["request_id"] == "two"
