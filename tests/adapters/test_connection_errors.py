"""Connection errors: the reason of each, and the removal of their tracebacks."""

from errno import ECONNREFUSED, EMFILE, ENFILE

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from proxy.adapters.dailymotion.api_responses import to_refusal
from proxy.adapters.errors import PrivateAddressError, build_connection_error

KEY = ConnectionKey(
    host="api.example.com",
    port=443,
    is_ssl=True,
    ssl=True,
    proxy=None,
    proxy_auth=None,
    proxy_headers_hash=None,
)


def wrap_in_connector_error(error: OSError) -> aiohttp.ClientConnectorError:
    return aiohttp.ClientConnectorError(KEY, error)


@pytest.mark.parametrize(
    ("error", "reason", "retry_after"),
    [
        (wrap_in_connector_error(OSError(EMFILE, "Too many open files")), "overloaded", 1),
        (wrap_in_connector_error(OSError(ENFILE, "Too many open files")), "overloaded", 1),
        (OSError(EMFILE, "Too many open files"), "overloaded", 1),
        (wrap_in_connector_error(OSError(ECONNREFUSED, "refused")), "platform-unreachable", None),
        (wrap_in_connector_error(PrivateAddressError("10.0.0.1")), "stream-host-not-allowed", None),
        (PrivateAddressError("10.0.0.1"), "stream-host-not-allowed", None),
        (aiohttp.ServerDisconnectedError(), "platform-unreachable", None),
        (aiohttp.ClientPayloadError("half a body"), "platform-unreachable", None),
        (aiohttp.ClientResponseError(None, ()), "platform-bad-response", None),
        (AssertionError(), "platform-unreachable", None),
    ],
)
def test_each_connection_error_maps_to_its_reason(error, reason, retry_after):
    refusal = to_refusal(build_connection_error("video", "api.example.com", error))

    assert str(refusal.reason) == reason
    assert refusal.retry_after == retry_after


def refuse() -> None:
    raise OSError(ECONNREFUSED, "Connection refused")


def catch_refused_error() -> OSError:
    with pytest.raises(OSError, match="refused") as caught:
        refuse()
    return caught.value


def disconnect() -> None:
    raise aiohttp.ServerDisconnectedError


def disconnect_after_refusal() -> None:
    raise aiohttp.ServerDisconnectedError from catch_refused_error()


def disconnect_while_handling() -> None:
    try:
        refuse()
    except OSError:
        disconnect()


def fail_to_connect() -> None:
    raise wrap_in_connector_error(catch_refused_error())


@pytest.mark.parametrize(
    "fail", [disconnect_after_refusal, disconnect_while_handling, fail_to_connect]
)
def test_tracebacks_of_an_error_and_its_causes_are_removed(fail):
    with pytest.raises(aiohttp.ClientError) as caught:
        fail()
    error = caught.value
    causes = {error.__cause__, error.__context__, getattr(error, "os_error", None)} - {None}
    assert all(each.__traceback__ is not None for each in (error, *causes))

    build_connection_error("video", "api.example.com", error)

    assert len(causes) == 1
    assert all(each.__traceback__ is None for each in (error, *causes))
