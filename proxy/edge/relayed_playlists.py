"""Track relayed playlists: which may grow, and which offer blocking reloads."""

import re

from proxy.domain.caches import LruCache
from proxy.domain.playlist.seal_uris import may_change

MAX_TRACKED_PLAYLISTS = 20_000  # playlists of either kind; the one noted longest ago goes first
TRACKED_PATH_LENGTH = 40  # characters of a path's end, which tell one seal from any other
BLOCKING_RELOAD_TAG = re.compile(r"^#EXT-X-SERVER-CONTROL:.*CAN-BLOCK-RELOAD=YES", re.MULTILINE)


class RelayedPlaylists:
    """Tracks playlists by the end of their path.

    A blocking reload (RFC 8216bis, 6.2.5.2) waits for seconds outside of the concurrency limit, so
    it must not be had of any playlist. Where nothing is known, after a restart say, the playlist is
    served at once, as a server may, and its next reload blocks.
    """

    def __init__(self) -> None:
        self._growing: LruCache[str, bool] = LruCache(MAX_TRACKED_PLAYLISTS)
        self._blocking: LruCache[str, bool] = LruCache(MAX_TRACKED_PLAYLISTS)

    def is_fixed(self, path: str, text: str) -> bool:
        """Say whether a Media Playlist will never change; track it if it may.

        A playlist that was seen to grow counts as growing after its end, so that its URIs stay.
        """
        name, may_grow = path[-TRACKED_PATH_LENGTH:], may_change(text)
        if may_grow:
            self._growing[name] = True
        return not may_grow and name not in self._growing

    def track_blocking(self, path: str, text: str) -> None:
        """Track a playlist that announces CAN-BLOCK-RELOAD."""
        if BLOCKING_RELOAD_TAG.search(text) is not None:
            self._blocking[path[-TRACKED_PATH_LENGTH:]] = True

    def offers_blocking(self, path: str) -> bool:
        """Say whether a playlist announced CAN-BLOCK-RELOAD."""
        return path[-TRACKED_PATH_LENGTH:] in self._blocking
