"""The access log counts and logs each finished request after its response."""

import asyncio
import io
import json

from proxy.adapters.logs import build_logger
from proxy.adapters.telemetry import build_telemetry
from proxy.web.access_log import AccessLog, FinishedRequest
from proxy.web.request_context import RequestContext
from proxy.web.routes import PLAYER_PORT


def build_finished_request(request_id: str, status: int = 302) -> FinishedRequest:
    context = RequestContext(request_id=request_id, peer=None, is_from_proxy=True)
    return FinishedRequest(
        route=PLAYER_PORT[0], method="GET", status=status, duration=0.1, context=context
    )


async def test_requests_are_logged_in_order_after_their_responses():
    lines = io.StringIO()
    telemetry = build_telemetry(build_logger(lines))
    access_log = AccessLog(telemetry)

    access_log.add(build_finished_request("one"))
    access_log.add(build_finished_request("two"))
    assert lines.getvalue() == ""
    await asyncio.sleep(0)
    access_log.add(build_finished_request("three"))
    await asyncio.sleep(0)

    request_ids = [json.loads(line)["request_id"] for line in lines.getvalue().splitlines()]
    assert request_ids == ["one", "two", "three"]
    assert b'playgate_plays_total{outcome="redirected"} 3.0' in telemetry.metrics.render()


async def test_an_error_while_logging_a_request_is_logged_and_does_not_affect_other_requests():
    lines = io.StringIO()
    access_log = AccessLog(build_telemetry(build_logger(lines)))
    invalid_duration = build_finished_request("one")._replace(duration="a while")

    access_log.add(invalid_duration)
    access_log.add(build_finished_request("two"))
    await asyncio.sleep(0)

    error, line = map(json.loads, lines.getvalue().splitlines())
    assert (error["event"], error["task"], error["request_id"]) == ("internal", "access-log", "one")
    assert error["exception"][0]["exc_type"] == "TypeError"
    assert line["request_id"] == "two"
