"""Which relayed playlists were seen to grow: their URIs stay as they are when they end."""

from __future__ import annotations

from collections import OrderedDict

from proxy.domain.playlist.relayed import may_change

REMEMBERED = 20_000  # playlists, by the end of their path
SEAL_END = 40  # characters, which tell one seal from any other


class Growing:
    """Remembers."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, None] = OrderedDict()

    def is_fixed(self, text: str, path: str) -> bool:
        """Say whether a Media Playlist will never change, and was not seen to grow."""
        change = may_change(text)
        name = path[-SEAL_END:]
        if change:  # each step by itself: the reading thread and the loop's may come at once
            self._seen.pop(name, None)
            self._seen[name] = None
            if len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
        return not change and name not in self._seen
