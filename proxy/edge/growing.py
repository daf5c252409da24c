"""Which relayed playlists were seen to grow: their URIs stay as they are when they end."""

from proxy.domain.caches import Lru
from proxy.domain.playlist.relayed import may_change

REMEMBERED = 20_000  # playlists, by the end of their path
SEAL_END = 40  # characters, which tell one seal from any other


class Growing:
    """Remembers."""

    def __init__(self) -> None:
        self._seen: Lru[str, bool] = Lru(REMEMBERED)

    def is_fixed(self, text: str, path: str) -> bool:
        """Say whether a Media Playlist will never change, and was not seen to grow."""
        change = may_change(text)
        name = path[-SEAL_END:]
        if change:
            self._seen[name] = True
        return not change and name not in self._seen
