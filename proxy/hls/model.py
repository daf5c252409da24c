"""What a playlist offers, as m3u8 reads it: for choosing what to look at next.

m3u8 is a good model and no validator; it raises whatever comes to its mind on bad input. Nothing is
ever written with it: playlists are changed in place (rewrite.py).
"""

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

import m3u8

from proxy.hls.lexer import first_values, scan
from proxy.hls.lint.text import CONTROL
from proxy.hls.resolve import UnresolvableError, resolve_uri
from proxy.hls.variables import Variables

LINE_END = re.compile(r"\r\n|\r|\n")
# The lines that the model below is made of. m3u8 is shown no others: 20,000 keys cost it 18 s,
# since it looks for each of them among all before.
MODELLED = re.compile(
    r"\s*(?:[^#\s]|#EXT(?:M3U|INF|-X-(?:STREAM-INF|MEDIA|TARGETDURATION|MEDIA-SEQUENCE|ENDLIST))"
    r"(?![A-Z0-9-]))"
)


DEFINE = "EXT-X-DEFINE"


class PlaylistUnreadable(ValueError):
    """m3u8 cannot make sense of a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A playlist or a segment that a playlist names."""

    name: str
    uri: str
    base: str

    @property
    def url(self) -> str:
        """Return its absolute URL."""
        return resolve_uri(self.base, self.uri)


@dataclass(frozen=True, slots=True, kw_only=True)
class Playlist:
    """A playlist: of variants and renditions, or of segments; times in seconds."""

    variants: tuple[Child, ...]
    renditions: tuple[Child, ...]
    segments: tuple[Child, ...]
    target_duration: float
    media_sequence: int
    has_ended: bool

    @property
    def is_live(self) -> bool:
        """Say whether it will change."""
        return bool(self.segments) and not self.has_ended


def read_model(text: str, base: str) -> Playlist:
    """Return the model of a playlist that came from `base`.

    Raises:
        PlaylistUnreadable: it cannot be read, whatever m3u8 said.
    """
    try:
        variables = _define_variables(text, base)
        lines = (line for line in LINE_END.split(text) if MODELLED.match(line) is not None)
        # m3u8 ends lines at other characters, too, and would find many in one of ours.
        read = m3u8.loads("\n".join(line for line in lines if CONTROL.search(line) is None))
        variants = ((f"variant {n}", it.uri) for n, it in enumerate(read.playlists, start=1))
        renditions = ((f"{str(it.type).lower()} {it.name}", it.uri) for it in read.media)
        segments = ((f"segment {n}", it.uri) for n, it in enumerate(read.segments, start=1))
        return Playlist(
            variants=_build_children(variants, variables, base),
            renditions=_build_children(renditions, variables, base),
            segments=_build_children(segments, variables, base),
            target_duration=float(read.target_duration or 0),
            media_sequence=int(read.media_sequence or 0),
            has_ended=bool(read.is_endlist),
        )
    except Exception as error:  # noqa: BLE001  # it raises bare ones, too
        raise PlaylistUnreadable(type(error).__name__) from None


def _define_variables(text: str, base: str) -> Variables:
    variables = Variables(base)
    if DEFINE in text:
        for line in scan(text, read_of={DEFINE}):
            if line.tag == DEFINE:
                variables.define(first_values(line))
    return variables


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
