"""Which relayed playlists offer blocking reloads (RFC 8216bis, 6.2.5.2)."""

import re

from proxy.domain.caches import Lru

MAX_PLAYLISTS = 20_000  # the one unused for longest goes first
SEAL_END = 40  # characters of a path's end, which tell one seal from any other
OFFER = re.compile(r"^#EXT-X-SERVER-CONTROL:.*CAN-BLOCK-RELOAD=YES", re.MULTILINE)


class BlockingPlaylists:
    """Notes which playlists announced CAN-BLOCK-RELOAD.

    A blocking request waits for seconds outside of the concurrency limit, so it must not be had of
    any playlist. Where nothing is known, after a restart say, the playlist is served at once, as a
    server may, and its next reload blocks.
    """

    def __init__(self) -> None:
        self._offering: Lru[str, bool] = Lru(MAX_PLAYLISTS)

    def note(self, path: str, text: str) -> None:
        """Note what a playlist announces."""
        if OFFER.search(text) is not None:
            self._offering[path[-SEAL_END:]] = True

    def __contains__(self, path: str) -> bool:
        return path[-SEAL_END:] in self._offering
