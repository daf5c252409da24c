"""Track which relayed playlists offer blocking reloads."""

from proxy.domain.caches import LruCache

MAX_TRACKED_PLAYLISTS = 20_000  # the least recently used is evicted first
TRACKED_SEAL_LENGTH = 40  # characters at the end of a seal, which identify it


class BlockingReloads:
    """Tracks playlists by the end of their seal.

    A blocking reload (RFC 8216bis, 6.2.5.2) waits for seconds outside the concurrency limit, so it
    is allowed only for playlists that announce it. For an untracked playlist, after a restart for
    example, the edge responds without blocking, which the RFC allows; the next reload blocks.
    """

    def __init__(self) -> None:
        self._offered: LruCache[str, bool] = LruCache(MAX_TRACKED_PLAYLISTS)

    def track(self, seal: str) -> None:
        """Track a playlist that announces CAN-BLOCK-RELOAD."""
        self._offered[seal[-TRACKED_SEAL_LENGTH:]] = True

    def are_offered(self, seal: str) -> bool:
        """Return whether a playlist has announced CAN-BLOCK-RELOAD."""
        return seal[-TRACKED_SEAL_LENGTH:] in self._offered
