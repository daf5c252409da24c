"""What a connection that fails is called, and what is kept of its error: no frames."""

from __future__ import annotations

from errno import ECONNREFUSED, EMFILE, ENFILE

import aiohttp
import pytest

from proxy.adapters.dailymotion.failures import PrivateAddress, connection_refusal


@pytest.mark.parametrize(
    ("error", "reason", "retry_after"),
    [
        (OSError(EMFILE, "Too many open files"), "overloaded", 1),
        (OSError(ENFILE, "Too many open files in system"), "overloaded", 1),
        (OSError(ECONNREFUSED, "Connection refused"), "platform-unreachable", None),
        (PrivateAddress("10.0.0.1"), "stream-host-not-allowed", None),
        (aiohttp.ServerDisconnectedError(), "platform-unreachable", None),
        (aiohttp.ClientPayloadError("half a body"), "platform-unreachable", None),
        (aiohttp.ClientResponseError(None, ()), "platform-bad-answer", None),
        (AssertionError(), "platform-unreachable", None),
    ],
)
def test_a_failed_connection_has_its_reason(error, reason, retry_after):
    refusal = connection_refusal("video", "api.example.com", error)

    assert str(refusal.reason) == reason
    assert refusal.retry_after == retry_after


def test_no_error_behind_it_keeps_its_frames():
    with pytest.raises(aiohttp.ServerDisconnectedError) as caught:
        disconnect()
    error = caught.value
    assert error.__traceback__ is not None

    connection_refusal("video", "api.example.com", error)

    assert error.__traceback__ is None
    assert error.__cause__ is not None
    assert error.__cause__.__traceback__ is None


def disconnect() -> None:
    try:
        refuse()
    except OSError as behind:
        raise aiohttp.ServerDisconnectedError from behind


def refuse() -> None:
    raise OSError(ECONNREFUSED, "Connection refused")
