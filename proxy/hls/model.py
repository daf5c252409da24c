"""The variants, renditions and segments of a received playlist, read with m3u8.

m3u8 validates nothing, and raises exceptions of any type on bad input. It only reads playlists;
playlist_writer.py writes them.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

import m3u8

from proxy.hls.lexer import first_values, scan
from proxy.hls.lint.text import CONTROL
from proxy.hls.resolve import UnresolvableError, resolve_uri
from proxy.hls.variables import Variables

LINE_END = re.compile(r"\r\n|\r|\n")
# The lines that the model needs. m3u8 reads only these: reading 20,000 keys takes it 18 s, because
# it compares each key with all keys before.
MODELLED = re.compile(
    r"\s*(?:[^#\s]|#EXT(?:M3U|INF|-X-(?:STREAM-INF|MEDIA|TARGETDURATION|MEDIA-SEQUENCE|ENDLIST))"
    r"(?![A-Z0-9-]))"
)
TYPE = re.compile(r"(?:^|\r)#EXT-X-PLAYLIST-TYPE:(EVENT|VOD)\b", re.MULTILINE)
DEFINE, FRAMES = "EXT-X-DEFINE", "EXT-X-I-FRAME-STREAM-INF"


class PlaylistUnreadable(ValueError):
    """m3u8 cannot read a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A playlist or a segment that a playlist refers to."""

    name: str
    uri: str
    base: str

    @property
    def url(self) -> str:
        """Its absolute URL."""
        return resolve_uri(self.base, self.uri)


@dataclass(frozen=True, slots=True, kw_only=True)
class Playlist:
    """A playlist: of variants and renditions, or of segments; times in seconds."""

    variants: tuple[Child, ...]
    renditions: tuple[Child, ...]
    frames: tuple[Child, ...]  # I-frame playlists
    variables: Mapping[str, str | None]  # None if the value is unknown
    segments: tuple[Child, ...]
    segment_names: tuple[str, ...]  # the last parts of all paths; empty if a line is unreadable
    target_duration: float
    media_sequence: int
    has_ended: bool
    playlist_type: str  # EVENT, VOD or empty

    @property
    def is_live(self) -> bool:
        """Whether it will change."""
        return bool(self.segments) and not self.has_ended


def read_model(text: str, base: str, imported: Mapping[str, str | None] | None = None) -> Playlist:
    """Return the model of a playlist.

    Args:
        text: of the playlist.
        base: its URL.
        imported: the variables of its Multivariant Playlist.

    Raises:
        PlaylistUnreadable: m3u8 cannot read it.
    """
    try:
        variables = _define_variables(text, base, imported)
        lines = (line for line in LINE_END.split(text) if MODELLED.match(line) is not None)
        # m3u8 also ends lines at control characters.
        read = m3u8.loads("\n".join(line for line in lines if CONTROL.search(line) is None))
        variants = ((f"variant {n}", it.uri) for n, it in enumerate(read.playlists, start=1))
        renditions = ((f"{str(it.type).lower()} {it.name}", it.uri) for it in read.media)
        segments = ((f"segment {n}", it.uri) for n, it in enumerate(read.segments, start=1))
        return Playlist(
            variants=_build_children(variants, variables, base),
            renditions=_build_children(renditions, variables, base),
            frames=_build_children(_find_frames(text), variables, base),
            variables=variables.values,
            segment_names=()
            if CONTROL.search(text) is not None
            else tuple(_read_name(it.uri or "") for it in read.segments),
            segments=_build_children(segments, variables, base),
            target_duration=float(read.target_duration or 0),
            media_sequence=int(read.media_sequence or 0),
            has_ended=bool(read.is_endlist),
            playlist_type="" if (kind := TYPE.search(text)) is None else kind[1],
        )
    except Exception as error:  # noqa: BLE001  # m3u8 also raises bare exceptions
        raise PlaylistUnreadable(type(error).__name__) from None


def _read_name(uri: str) -> str:
    """Return the last part of a path. The rest of a URI may be signed anew on each request."""
    return re.split("[?#]", uri)[0].rpartition("/")[2]


def _define_variables(text: str, base: str, imported: Mapping[str, str | None] | None) -> Variables:
    variables = Variables(base, imported)
    if DEFINE in text:
        for line in scan(text, read_of={DEFINE}):
            if line.tag == DEFINE:
                variables.define(first_values(line))
    return variables


def _find_frames(text: str) -> Iterator[tuple[str, str | None]]:
    """Yield the name and the URI of each I-frame playlist. m3u8 fails if one is malformed."""
    lines = scan(text, read_of={FRAMES}) if FRAMES in text else ()
    found = (line for line in lines if line.tag == FRAMES)
    for number, line in enumerate(found, start=1):
        yield f"I-frames {number}", first_values(line).get("URI")


def _build_children(
    named: Iterable[tuple[str, str | None]], variables: Variables, base: str
) -> tuple[Child, ...]:
    """Return the children whose URIs can be resolved; the check reports the others."""
    children = []
    for name, uri in named:
        child = Child(name=name, uri=variables.fill(uri or ""), base=base)
        with suppress(UnresolvableError):
            if uri and child.url:
                children.append(child)
    return tuple(children)
