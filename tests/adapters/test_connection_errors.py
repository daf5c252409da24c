"""What a connection that fails is called, and what is kept of its error: no frames."""

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


def as_aiohttp_tells(error: OSError) -> aiohttp.ClientConnectorError:
    return aiohttp.ClientConnectorError(KEY, error)


@pytest.mark.parametrize(
    ("error", "reason", "retry_after"),
    [
        (as_aiohttp_tells(OSError(EMFILE, "Too many open files")), "overloaded", 1),
        (as_aiohttp_tells(OSError(ENFILE, "Too many open files")), "overloaded", 1),
        (OSError(EMFILE, "Too many open files"), "overloaded", 1),
        (as_aiohttp_tells(OSError(ECONNREFUSED, "refused")), "platform-unreachable", None),
        (as_aiohttp_tells(PrivateAddressError("10.0.0.1")), "stream-host-not-allowed", None),
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


def refused() -> OSError:
    with pytest.raises(OSError, match="refused") as caught:
        refuse()
    return caught.value


def disconnect() -> None:
    raise aiohttp.ServerDisconnectedError


def disconnect_because() -> None:
    raise aiohttp.ServerDisconnectedError from refused()


def disconnect_while() -> None:
    try:
        refuse()
    except OSError:
        disconnect()


def cannot_connect() -> None:
    raise as_aiohttp_tells(refused())


@pytest.mark.parametrize("fail", [disconnect_because, disconnect_while, cannot_connect])
def test_tracebacks_of_an_error_and_its_causes_are_removed(fail):
    with pytest.raises(aiohttp.ClientError) as caught:
        fail()
    error = caught.value
    behind = {error.__cause__, error.__context__, getattr(error, "os_error", None)} - {None}
    assert all(it.__traceback__ is not None for it in (error, *behind))

    build_connection_error("video", "api.example.com", error)

    assert len(behind) == 1
    assert all(it.__traceback__ is None for it in (error, *behind))
