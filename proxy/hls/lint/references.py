"""The URIs of a playlist, line by line."""

from collections.abc import Iterator
from typing import NamedTuple

from proxy.hls.attributes import URI_ATTRIBUTES
from proxy.hls.lexer import Line, scan


class Reference(NamedTuple):
    """A URI in a playlist: the line, and the tag that it belongs to."""

    uri: str
    tag: str
    line: int


def read_references(text: str) -> Iterator[tuple[Line, list[Reference]]]:
    """Yield every line of a playlist with the URIs in it."""
    is_variant = False
    for line in scan(text):
        if line.tag:
            is_variant = line.tag == "EXT-X-STREAM-INF" or is_variant
            names = URI_ATTRIBUTES.get(line.tag, {})
            yield (
                line,
                [
                    Reference(attribute.value, line.tag, line.number)
                    for attribute in line.attributes
                    if attribute.name in names and attribute.value
                ],
            )
        elif uri := line.uri:
            yield (
                line,
                [Reference(uri, "EXT-X-STREAM-INF" if is_variant else "EXTINF", line.number)],
            )
            is_variant = False
        else:
            yield line, []
