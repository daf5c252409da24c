"""Decompress response bodies within a size limit."""

import re
import sys
import zlib
from collections.abc import Callable
from typing import Protocol

import brotli

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# RFC 9659 limits the window, which is memory, to 8 MB.
ZSTD_OPTIONS: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 23}
# How a gzip member (RFC 1952) or a zstd frame (RFC 8878) begins. Other bytes at the end are
# ignored, as in browsers.
GZIP_MEMBER = re.compile(rb"\x1f\x8b")
ZSTD_FRAME = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")
# The rest of the body is copied for each member; a body of 16 MB could have a million.
MAX_MEMBERS = 16
GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS  # zlib finds out which of the two it is


class Decompressor(Protocol):
    """What the decompressors of zlib and zstd have in common."""

    @property
    def eof(self) -> bool:
        """Whether the end of the member was read."""

    @property
    def unused_data(self) -> bytes:
        """The bytes after the member."""

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Return decompressed bytes, at most `max_length`."""


class DecompressionError(ValueError):
    """A body is not compressed as its Content-Encoding says, or in an unsupported way."""


class DecompressedTooLargeError(ValueError):
    """A decompressed body exceeds the limit."""


def decompress(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Return a decompressed body.

    Args:
        body: as received.
        encoding: the value of Content-Encoding; may be empty.
        max_bytes: the limit for the decompressed body.

    Raises:
        DecompressionError: the body cannot be decompressed.
        DecompressedTooLargeError: the decompressed body is larger than `max_bytes`.
    """
    name = encoding.strip().lower()
    try:
        match name:
            case "" | "identity":
                decompressed = body
            case "gzip" | "x-gzip" | "deflate":
                decompressed = _decompress_members(body, max_bytes, _create_inflate, GZIP_MEMBER)
            case "br":
                decompressed = _decompress_brotli(body, max_bytes)
            case "zstd":
                decompressed = _decompress_members(body, max_bytes, _create_zstd, ZSTD_FRAME)
            case _:
                raise DecompressionError(f"has an unsupported Content-Encoding: {encoding[:40]}")
    except (zlib.error, brotli.error, zstd.ZstdError, EOFError):
        raise DecompressionError(f"is not valid {name}, which its Content-Encoding says") from None
    if len(decompressed) > max_bytes:
        raise DecompressedTooLargeError
    return decompressed


def _decompress_members(
    body: bytes, max_bytes: int, create: Callable[[], Decompressor], begin: re.Pattern[bytes]
) -> bytes:
    """Decompress one member or frame after the other. Raises EOFError if the body ends early."""
    decompressed = b""
    for _ in range(MAX_MEMBERS):
        decompressor = create()
        decompressed += decompressor.decompress(body, max_bytes + 1)
        if len(decompressed) > max_bytes:
            return decompressed
        if not decompressor.eof:
            raise EOFError
        body = decompressor.unused_data
        if begin.match(body) is None:
            return decompressed
    raise DecompressionError(f"has more than {MAX_MEMBERS} compressed members")


def _create_inflate() -> Decompressor:
    return zlib.decompressobj(GZIP_OR_ZLIB)


def _create_zstd() -> Decompressor:
    return zstd.ZstdDecompressor(options=ZSTD_OPTIONS)


def _decompress_brotli(body: bytes, max_bytes: int) -> bytes:
    decompressor = brotli.Decompressor()
    parts = bytearray(decompressor.process(body, output_buffer_limit=max_bytes + 1))
    while not decompressor.is_finished() and len(parts) <= max_bytes:
        if decompressor.can_accept_more_data():
            raise EOFError
        parts += decompressor.process(b"", output_buffer_limit=max_bytes + 1)
    return bytes(parts)
