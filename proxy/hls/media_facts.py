"""What the tags of a Media Playlist say about the whole playlist."""

from proxy.hls.extinf import read_duration

# A playlist with one of these may get segments later.
LIVE_TAGS = frozenset({"EXT-X-TARGETDURATION", "EXT-X-MEDIA-SEQUENCE"})


class MediaFacts:
    """Collects the first value of each tag."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def add(self, tag: str, value: str) -> None:
        """Add a tag with its value."""
        self._values.setdefault(tag, value.strip())

    @property
    def has_ended(self) -> bool:
        """Whether no segment will be added."""
        return "EXT-X-ENDLIST" in self._values

    @property
    def is_vod(self) -> bool:
        """Whether the playlist will never change.

        An ended playlist that begins with the first segment counts as a VOD, unless its type is
        EVENT. A live playlist may end like that, too.
        """
        playlist_type = self._values.get("EXT-X-PLAYLIST-TYPE")
        is_whole = not self._values.get("EXT-X-MEDIA-SEQUENCE", "").strip("0")
        is_ended_vod = self.has_ended and is_whole and playlist_type != "EVENT"
        return playlist_type == "VOD" or is_ended_vod

    @property
    def target_duration(self) -> str | None:
        """The target duration in seconds."""
        return read_duration(self._values.get("EXT-X-TARGETDURATION", ""))

    def explain_emptiness(self) -> str:
        """Return the rule that a playlist without segments breaks; empty if some may follow."""
        if self.has_ended:
            return "segments-none"
        return "" if LIVE_TAGS & self._values.keys() else "empty"
