"""Failures of what lies outside this process, before it is known what they mean for a play."""

from errno import EMFILE, ENFILE
from typing import Literal

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError

FailureKind = Literal[
    "unreachable", "timeout", "throttled", "bad-response", "private-address", "no-descriptors"
]


class UpstreamError(Exception):
    """A request to another server failed.

    Attributes:
        problem: how.
        detail: for the log.
        is_transient: whether another attempt may succeed.
        retry_after: after how many seconds, if the server said so.
    """

    def __init__(
        self,
        kind: FailureKind,
        detail: str,
        *,
        is_transient: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail
        self.is_transient = is_transient
        self.retry_after = retry_after


class StateError(Exception):
    """What this service keeps outside its memory cannot be read or written; `detail` says why."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


# aiohttp asserts that a literal address is of the session's family.
CONNECTION_ERRORS = (aiohttp.ClientError, OSError, AssertionError)

CAUSES: dict[type[BaseException], str] = {
    AssertionError: "its address is not of platform.address_family",
    aiohttp.ClientConnectorDNSError: "no such host",
    aiohttp.ClientConnectorCertificateError: "its certificate does not verify",
    aiohttp.ClientConnectorError: "refused or unreachable",
}

# The process has as many connections as it may have, or the machine has.
NO_DESCRIPTORS = frozenset({EMFILE, ENFILE})


class PrivateAddressError(OSError):
    """An address that must not be dialled; an OSError, as aiohappyeyeballs expects."""


def build_connection_error(operation: str, host: str | None, error: BaseException) -> UpstreamError:
    """Return the error for a connection that could not be opened, or broke."""
    drop_tracebacks(error)
    if isinstance(getattr(error, "os_error", error), PrivateAddressError):
        return UpstreamError("private-address", "its host has a private address")
    if is_malformed_http(error):
        detail = f"{operation}: what came from {host} is no HTTP"
        return UpstreamError("bad-response", detail, is_transient=True)
    if isinstance(error, OSError) and error.errno in NO_DESCRIPTORS:
        return UpstreamError("no-descriptors", f"{operation}: this process may not open more files")
    cause = CAUSES.get(type(error), type(error).__name__)
    detail = f"{operation}: no connection to {host} ({cause})"
    return UpstreamError("unreachable", detail, is_transient=True)


def is_malformed_http(error: BaseException) -> bool:
    """Say whether a connection broke because of what arrived, rather than what did not."""
    return isinstance(error, aiohttp.ClientResponseError) or isinstance(
        error.__cause__, ContentEncodingError
    )


def reset_unread(response: aiohttp.ClientResponse) -> None:
    """Reset the connection of a response of which something is left unread.

    aiohttp would send TLS close_notify first, and while TLS waits for the other end to do the same,
    uvloop keeps whatever that one still sends.
    """
    connection = response.connection  # None where all is read
    if connection is not None and connection.transport is not None:
        connection.transport.abort()


def drop_tracebacks(error: BaseException) -> None:
    """Remove the tracebacks of an error and of those behind it.

    Frames of aiohttp's in them hold the error itself and its connection: a cycle that would stay,
    with up to 256 KB of a connection's buffers, until the collector comes by.
    """
    found, done = [error], set[int]()
    while found:
        one = found.pop()
        one.__traceback__ = None
        done.add(id(one))
        behind = (one.__cause__, one.__context__, getattr(one, "os_error", None))
        found += [it for it in behind if it is not None and id(it) not in done]
