"""Which refusals begin and end an outage of Dailymotion."""

import io

from support import StillClock

from proxy.adapters.logs import build_logger
from proxy.adapters.metrics import Metrics
from proxy.adapters.telemetry import Health
from proxy.domain.reasons import Reason, Refusal


def build_health() -> Health:
    return Health(StillClock(), Metrics(), build_logger(io.StringIO()))


def test_an_outage_ends_with_any_response_even_a_refusal_about_a_video():
    health = build_health()
    health.record_refusal("video", Refusal(Reason.PLATFORM_UNREACHABLE))
    assert "video" in health.outages

    health.record_refusal("video", Refusal(Reason.VIDEO_NOT_FOUND))
    assert health.outages == {}


def test_an_overloaded_edge_does_not_change_the_outages_of_dailymotion():
    health = build_health()
    health.record_refusal("video", Refusal(Reason.OVERLOADED))
    assert health.outages == {}

    health.record_refusal("video", Refusal(Reason.PLATFORM_CREDENTIALS))
    health.record_refusal("video", Refusal(Reason.OVERLOADED))
    assert health.outages["video"].reason is Reason.PLATFORM_CREDENTIALS
