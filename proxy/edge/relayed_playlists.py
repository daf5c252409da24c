"""Track relayed playlists: which may change, and which offer blocking reloads."""

from proxy.domain.caches import LruCache

MAX_TRACKED_PLAYLISTS = 20_000  # of each kind; the least recently used is evicted first
TRACKED_SEAL_LENGTH = 40  # characters at the end of a seal, which identify it


class RelayedPlaylists:
    """Tracks playlists by the end of their seal.

    A blocking reload (RFC 8216bis, 6.2.5.2) waits for seconds outside the concurrency limit, so it
    is allowed only for playlists that announce it. For an untracked playlist, after a restart for
    example, the edge responds without blocking, which the RFC allows; the next reload blocks.
    """

    def __init__(self) -> None:
        self._changing: LruCache[str, bool] = LruCache(MAX_TRACKED_PLAYLISTS)
        self._blocking: LruCache[str, bool] = LruCache(MAX_TRACKED_PLAYLISTS)

    def track(self, seal: str, *, may_change: bool, offers_blocking: bool) -> None:
        """Track a playlist that may change, or that announces CAN-BLOCK-RELOAD."""
        name = seal[-TRACKED_SEAL_LENGTH:]
        if may_change:
            self._changing[name] = True
        if offers_blocking:
            self._blocking[name] = True

    def was_changing(self, seal: str) -> bool:
        """Return whether a playlist could change once.

        If it ends as a VOD, its relay URLs must stay the same.
        """
        return seal[-TRACKED_SEAL_LENGTH:] in self._changing

    def offers_blocking(self, seal: str) -> bool:
        """Return whether a playlist has announced CAN-BLOCK-RELOAD."""
        return seal[-TRACKED_SEAL_LENGTH:] in self._blocking
