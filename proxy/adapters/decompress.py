"""Decompress response bodies within a size limit."""

import re
import sys
import zlib

import brotli

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# RFC 9659 limits the window, which is memory, to 8 MB.
ZSTD_OPTIONS: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 23}
# How a further gzip member, or a further zstd frame, begins; other bytes at the end are ignored.
GZIP_MEMBER = re.compile(rb"\x1f\x8b")
ZSTD_FRAME = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")
GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS  # zlib finds out which of the two it is


class DecompressionError(ValueError):
    """A body is not compressed as its Content-Encoding says, or in an unsupported way."""


class DecompressedTooLargeError(ValueError):
    """A decompressed body exceeds the limit."""


def decompress(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Return a decompressed body.

    Args:
        body: as received.
        encoding: the value of Content-Encoding.
        max_bytes: the limit for the decompressed body.

    Raises:
        DecompressionError: the body cannot be decompressed.
        DecompressedTooLargeError: the decompressed body is larger than `max_bytes`.
    """
    name = encoding.strip().lower()
    try:
        if name in {"gzip", "x-gzip", "deflate"}:
            decompressed = _inflate(body, max_bytes)
        elif name == "br":
            decompressed = _decompress_brotli(body, max_bytes)
        elif name == "zstd":
            decompressed = _decompress_zstd(body, max_bytes)
        else:
            raise DecompressionError(f"has an unsupported Content-Encoding: {encoding[:40]}")
    except (zlib.error, brotli.error, zstd.ZstdError):
        raise DecompressionError(f"is not valid {name}, which its Content-Encoding says") from None
    if len(decompressed) > max_bytes:
        raise DecompressedTooLargeError
    return decompressed


def _inflate(body: bytes, max_bytes: int) -> bytes:
    decompressed, is_first = b"", True
    # One member after the other (RFC 1952)
    while (is_first or GZIP_MEMBER.match(body)) and len(decompressed) <= max_bytes:
        inflate = zlib.decompressobj(GZIP_OR_ZLIB)
        decompressed += inflate.decompress(body, max_bytes + 1)
        if not inflate.eof and len(decompressed) <= max_bytes:
            raise zlib.error("the body ends early")
        body, is_first = inflate.unused_data, False
    return decompressed


def _decompress_brotli(body: bytes, max_bytes: int) -> bytes:
    decompressor = brotli.Decompressor()
    parts = bytearray(decompressor.process(body, output_buffer_limit=max_bytes + 1))
    while not decompressor.is_finished() and len(parts) <= max_bytes:
        if decompressor.can_accept_more_data():
            raise brotli.error("the body ends early")
        parts += decompressor.process(b"", output_buffer_limit=max_bytes + 1)
    return bytes(parts)


def _decompress_zstd(body: bytes, max_bytes: int) -> bytes:
    decompressed, is_first = b"", True
    # One frame after the other (RFC 8878)
    while (is_first or ZSTD_FRAME.match(body)) and len(decompressed) <= max_bytes:
        decompressor = zstd.ZstdDecompressor(options=ZSTD_OPTIONS)
        decompressed += decompressor.decompress(body, max_length=max_bytes + 1)
        while not decompressor.eof and len(decompressed) <= max_bytes:
            if decompressor.needs_input:
                raise zstd.ZstdError("the body ends early")
            decompressed += decompressor.decompress(b"", max_length=max_bytes + 1)
        body, is_first = decompressor.unused_data, False
    return decompressed
