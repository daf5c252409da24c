"""Errors of other servers, the network and the shared state.

The layers above map them to a `Refusal`, which says what they mean for a play.
"""

from errno import EMFILE, ENFILE
from typing import Literal

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError

FailureKind = Literal[
    "unreachable",
    "timeout",
    "throttled",
    "bad-response",
    "too-large",
    "private-address",
    "no-descriptors",
]


# The error that /readyz and a verdict show for a bug.
INTERNAL_ERROR = "internal error: the log line with the event internal has the traceback"


class UpstreamError(Exception):
    """A request to another server failed.

    Attributes:
        kind: the kind of failure; it decides the reason of the refusal.
        detail: a description for the log.
        is_transient: whether a retry may succeed.
        retry_after: the seconds to wait before a retry, if the server sent Retry-After.
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
    """The shared state or the refresh token file cannot be read or written; `detail` says why."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


# AssertionError: aiohttp asserts that a literal address has the session's address family.
CONNECTION_ERRORS = (aiohttp.ClientError, OSError, AssertionError)

CAUSES: dict[type[BaseException], str] = {
    AssertionError: "its address does not match platform.address_family",
    aiohttp.ClientConnectorDNSError: "the host name is not in DNS",
    aiohttp.ClientConnectorCertificateError: "its certificate cannot be verified",
    aiohttp.ClientConnectorError: "refused or unreachable",
    aiohttp.ServerDisconnectedError: "the server closed the connection",
    aiohttp.ClientOSError: "the connection broke",
    ConnectionResetError: "the server reset the connection",
    TimeoutError: "no response in time",
}

# The process (EMFILE) or the machine (ENFILE) has reached its limit of open files and connections.
NO_DESCRIPTORS = frozenset({EMFILE, ENFILE})


class PrivateAddressError(OSError):
    """A host name resolved to a private address.

    An OSError, because aiohappyeyeballs catches only OSError and RuntimeError.
    """


def build_connection_error(operation: str, host: str | None, error: BaseException) -> UpstreamError:
    """Convert the error of a connection that failed to open, or broke, to an `UpstreamError`."""
    drop_tracebacks(error)
    if isinstance(getattr(error, "os_error", error), PrivateAddressError):
        return UpstreamError(
            "private-address", f"{operation}: {host} resolves to a private address"
        )
    if is_malformed_http(error):
        detail = f"{operation}: {host} sent a malformed HTTP response"
        return UpstreamError("bad-response", detail, is_transient=True)
    if isinstance(error, OSError) and error.errno in NO_DESCRIPTORS:
        detail = f"{operation}: the limit of open files is reached; raise LimitNOFILE"
        return UpstreamError("no-descriptors", detail)
    cause = CAUSES.get(type(error), type(error).__name__)
    detail = f"{operation}: the connection to {host} failed ({cause})"
    return UpstreamError("unreachable", detail, is_transient=True)


def is_malformed_http(error: BaseException) -> bool:
    """Return whether the server sent invalid HTTP; False if its response is cut off or missing."""
    return isinstance(error, aiohttp.ClientResponseError) or isinstance(
        error.__cause__, ContentEncodingError
    )


def reset_unread(response: aiohttp.ClientResponse) -> None:
    """Reset the connection of a response whose body was not read to its end.

    aiohttp would send a TLS close_notify and wait for the peer's. Meanwhile uvloop buffers whatever
    the peer still sends.
    """
    connection = response.connection  # None if the body was read to its end
    if connection is not None and connection.transport is not None:
        connection.transport.abort()


def drop_tracebacks(error: BaseException) -> None:
    """Remove the tracebacks of an error and of the errors that caused it.

    Their aiohttp frames refer to the error and to its connection. That reference cycle would keep
    up to 256 KB of connection buffers until the garbage collector runs.
    """
    pending, done = [error], set[int]()
    while pending:
        current = pending.pop()
        current.__traceback__ = None
        done.add(id(current))
        causes = (current.__cause__, current.__context__, getattr(current, "os_error", None))
        pending += [cause for cause in causes if cause is not None and id(cause) not in done]
