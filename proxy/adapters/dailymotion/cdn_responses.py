"""Check and decompress responses of the CDN."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

from proxy.adapters.decompress import (
    DecompressedTooLargeError,
    DecompressionError,
    decompress,
)
from proxy.domain.reasons import Reason, Refusal
from proxy.hls.playlist_writer import MAX_BYTES

USABLE_STATUSES = frozenset({HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT})
GONE_STATUSES = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})


class BodyDecompressor:
    """Decompresses playlists that the CDN compressed, although the request forbids it.

    One thread decompresses one body at a time, because each may occupy 16 MB.
    """

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="decompress")

    async def decompress(self, body: bytes, encoding: str) -> bytes:
        """Return a decompressed body.

        Raises:
            Refusal: it cannot be decompressed, or becomes larger than `MAX_BYTES`.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, _decompress, body, encoding)


def _decompress(body: bytes, encoding: str) -> bytes:
    try:
        return decompress(body, encoding, MAX_BYTES)
    except DecompressionError as error:
        raise build_bad_response_refusal(f"the playlist {error}") from None
    except DecompressedTooLargeError:
        detail = f"playlist: the decompressed response is larger than {MAX_BYTES} bytes"
        raise Refusal(Reason.PLAYLIST_TOO_LARGE, detail) from None


def check_status(status: int) -> None:
    """Raise the Refusal for a status other than 200 and 206."""
    if status in USABLE_STATUSES:
        return
    if status in GONE_STATUSES:
        raise Refusal(Reason.STREAM_UNAVAILABLE, f"CDN: HTTP {status}")
    # The CDN does not say why: wrong client address, expired URL or suspected bot.
    if status == HTTPStatus.FORBIDDEN:
        raise build_bad_response_refusal(
            "HTTP 403; see platform.address_family and platform.egress_ip"
        )
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        raise Refusal(Reason.PLATFORM_THROTTLED, "CDN: HTTP 429")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise Refusal(Reason.PLATFORM_UNREACHABLE, f"CDN: HTTP {status}")
    raise build_bad_response_refusal(f"HTTP {status}")


def build_bad_response_refusal(problem: str) -> Refusal:
    """Return the refusal for a response that makes no sense."""
    return Refusal(Reason.PLATFORM_BAD_RESPONSE, f"CDN: {problem}")
