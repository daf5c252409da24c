"""Change the URIs of a playlist where they stand; every other byte stays as it came."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from proxy.hls.lexer import Line, scan
from proxy.hls.tags import URI_ATTRIBUTES, Role


class Reference(NamedTuple):
    """A URI in a playlist: where it stands, and whether it leads to a playlist or to bytes.

    `tag` is the tag that carries it; for a URI line, `EXT-X-STREAM-INF` or `EXTINF`.
    """

    uri: str
    role: Role
    tag: str
    line: int
    start: int
    end: int


def rewrite(
    lines: Iterable[tuple[Line, list[Reference]]], change: Callable[[Reference], str]
) -> str:
    """Return the lines of a playlist with `change` applied to each of their URIs."""
    return "".join(piece for line, found in lines for piece in _changed(line, found, change))


def references(text: str) -> Iterator[tuple[Line, list[Reference]]]:
    """Yield every line of a playlist with the URIs in it."""
    is_variant = False
    for line in scan(text):
        if line.tag:
            is_variant = line.tag == "EXT-X-STREAM-INF" or is_variant
            yield line, _in_attributes(line)
        elif uri := line.uri:
            start = line.text.index(uri)
            role: Role = "playlist" if is_variant else "bytes"
            tag = "EXT-X-STREAM-INF" if is_variant else "EXTINF"
            is_variant = False
            yield line, [Reference(uri, role, tag, line.number, start, start + len(uri))]
        else:
            yield line, []


def _in_attributes(line: Line) -> list[Reference]:
    roles = URI_ATTRIBUTES.get(line.tag)
    if roles is None:
        return []
    return [
        Reference(it.value, roles[it.name], line.tag, line.number, it.start, it.end)
        for it in line.attributes
        if it.name in roles and it.value
    ]


def _changed(
    line: Line, found: list[Reference], change: Callable[[Reference], str]
) -> Iterator[str]:
    at = 0
    for reference in found:
        yield line.text[at : reference.start]
        yield change(reference)
        at = reference.end
    yield line.text[at:]
    yield line.ending
