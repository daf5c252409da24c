"""What goes wrong with a connection, and the refusal it becomes."""

from __future__ import annotations

from errno import EMFILE, ENFILE

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError

from proxy.domain.reasons import Reason, Refusal, overloaded

# aiohttp asserts that a literal address is of the session's family.
CANNOT_CONNECT = (aiohttp.ClientError, OSError, AssertionError)

CAUSES: dict[type[BaseException], str] = {
    AssertionError: "its address is not of platform.address_family",
    aiohttp.ClientConnectorDNSError: "no such host",
    aiohttp.ClientConnectorCertificateError: "its certificate does not verify",
    aiohttp.ClientConnectorError: "refused or unreachable",
}

# The process has as many connections as it may have, or the machine has.
NO_DESCRIPTORS = frozenset({EMFILE, ENFILE})


class PrivateAddress(OSError):
    """An address that must not be dialled; an OSError, as aiohappyeyeballs expects."""


class Transient(Refusal):
    """A failure that another attempt may cure, after `wait` seconds where the upstream said so."""

    def __init__(self, reason: Reason, detail: str, *, wait: float | None = None) -> None:
        super().__init__(reason, detail)
        self.wait = wait


def connection_refusal(operation: str, host: str | None, error: BaseException) -> Refusal:
    """Return the refusal for a connection that did not come about, or broke."""
    drop_traces(error)
    if isinstance(getattr(error, "os_error", error), PrivateAddress):
        return Refusal(Reason.STREAM_HOST_NOT_ALLOWED, "its host has a private address")
    if is_no_http(error):
        return Transient(
            Reason.PLATFORM_BAD_ANSWER, f"{operation}: what came from {host} is no HTTP"
        )
    if isinstance(error, OSError) and error.errno in NO_DESCRIPTORS:
        return overloaded(f"{operation}: this process may not open more files")
    return Transient(
        Reason.PLATFORM_UNREACHABLE,
        f"{operation}: no connection to {host} ({CAUSES.get(type(error), type(error).__name__)})",
    )


def is_no_http(error: BaseException) -> bool:
    """Say whether a connection broke over what came, and not over what did not."""
    return isinstance(error, aiohttp.ClientResponseError) or isinstance(
        error.__cause__, ContentEncodingError
    )


def drop_traces(error: BaseException) -> None:
    """Take the traces from an error and from those behind it, which are changed by that.

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
