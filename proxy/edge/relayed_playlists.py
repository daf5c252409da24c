"""Track relayed playlists: which may grow, and which offer blocking reloads."""

import re

from proxy.domain.caches import LruCache
from proxy.hls.seal_uris import may_change

MAX_TRACKED_PLAYLISTS = 20_000  # of each kind; the least recently used is evicted first
TRACKED_PATH_LENGTH = 40  # characters at the end of a path, which identify its seal
BLOCKING_RELOAD_TAG = re.compile(r"^#EXT-X-SERVER-CONTROL:.*CAN-BLOCK-RELOAD=YES", re.MULTILINE)


class RelayedPlaylists:
    """Tracks playlists by the end of their path.

    A blocking reload (RFC 8216bis, 6.2.5.2) waits for seconds outside the concurrency limit, so it
    is allowed only for playlists that announce it. For an untracked playlist, after a restart for
    example, the edge responds without blocking, which the RFC allows; the next reload blocks.
    """

    def __init__(self) -> None:
        self._growing: LruCache[str, bool] = LruCache(MAX_TRACKED_PLAYLISTS)
        self._blocking: LruCache[str, bool] = LruCache(MAX_TRACKED_PLAYLISTS)

    def is_fixed(self, path: str, text: str) -> bool:
        """Return whether a Media Playlist will never change; track it if it may change.

        A playlist that once could grow is never fixed, even after it has ended: its sealed URIs
        must stay the same.
        """
        name, may_grow = path[-TRACKED_PATH_LENGTH:], may_change(text)
        if may_grow:
            self._growing[name] = True
        return not may_grow and name not in self._growing

    def track_blocking(self, path: str, text: str) -> None:
        """Track a playlist if it announces CAN-BLOCK-RELOAD."""
        if BLOCKING_RELOAD_TAG.search(text) is not None:
            self._blocking[path[-TRACKED_PATH_LENGTH:]] = True

    def offers_blocking(self, path: str) -> bool:
        """Return whether a playlist has announced CAN-BLOCK-RELOAD."""
        return path[-TRACKED_PATH_LENGTH:] in self._blocking
