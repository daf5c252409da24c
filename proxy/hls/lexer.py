"""Split a playlist into lines, and an attribute list into attributes with their positions.

Accepts every text, and loses no character. Lines are named tuples, because creating a frozen
dataclass takes three times as long.
"""

import re
from collections.abc import Container, Iterator, Sequence
from typing import NamedTuple

# Lines end with LF or CRLF (RFC 8216bis, 4.1). Some players also end a line at CR alone, so a URI
# may follow it.
LINE = re.compile(r"([^\r\n]*)(\r\n|\n|\r|\Z)")
TAG = re.compile(r"#(EXT[^:\s]*)(:?)")
SEPARATORS = re.compile(r"[\s,]*")
# An attribute as nearly all playlists have them: one match is faster than the general case.
CLEAN = re.compile(
    r'[\s,]*([^\s=,"]+)=(?:"(?P<quoted>[^"]*)"|(?P<plain>(?:[^",\s][^",]*)?))(?=,|\Z)'
)
NAME = re.compile(r"([^\s=,\"]+)\s*=\s*")
MAX_LINE = 4096  # bytes


class Attribute(NamedTuple):
    """An attribute (4.2), with the positions of its value in the text of the line."""

    name: str
    value: str
    is_quoted: bool
    start: int
    end: int
    is_clean: bool  # no unexpected text around the value


class Line(NamedTuple):
    """A line of a playlist.

    Attributes:
        number: counted from 1.
        text: the line without its line ending.
        ending: the line ending.
        tag: the name of the tag without `#`; empty if the line has no tag.
        value: the text after the colon of the tag.
        value_at: the position of the value in the text.
        attributes: the attributes in the value; empty if the line is too long.
    """

    number: int
    text: str
    ending: str
    tag: str = ""
    value: str = ""
    value_at: int = 0
    attributes: Sequence[Attribute] = ()

    @property
    def uri(self) -> str:
        """The URI of a URI line (RFC 8216bis, 4.1); empty for other lines."""
        return "" if self.text.startswith("#") else self.text.strip(" \t")


def scan(text: str, *, read_of: Container[str] | None = None) -> Iterator[Line]:
    """Yield the lines of a text. Joined with their endings, they are the text again.

    Args:
        text: the text.
        read_of: the tags whose attributes are read; None for all.
    """
    for number, line in enumerate(LINE.finditer(text), start=1):
        if line[0]:
            yield read_line(number, line[1], line[2], read_of)


def read_line(
    number: int, content: str, ending: str = "", read_of: Container[str] | None = None
) -> Line:
    """Return a line with its tag and attributes."""
    if not content.startswith("#EXT") or (tag := TAG.match(content)) is None:
        return Line(number, content, ending)
    at = tag.end()
    value = content[at:] if tag[2] else ""
    may_have = tag[1].startswith("EXT-X-") if read_of is None else tag[1] in read_of
    has_list = may_have and "=" in value and not is_too_long(content)
    found = _attributes(content, at) if has_list else ()
    return Line(number, content, ending, tag[1], value, at, found)


def is_too_long(line: str) -> bool:
    """Return whether a line has more than MAX_LINE bytes, so that its attributes are not read."""
    if len(line) <= MAX_LINE // 4:  # no character takes more than four bytes
        return False
    return len(line.encode(errors="surrogateescape")) > MAX_LINE


def first_values(line: Line) -> dict[str, str]:
    """Return the attributes of a tag by name; of repeated attributes, the first value."""
    return {it.name: it.value for it in reversed(line.attributes)}


def _attributes(text: str, at: int) -> list[Attribute]:
    found: list[Attribute] = []
    while at < len(text):
        if (clean := CLEAN.match(text, at)) is not None:
            is_quoted = clean["quoted"] is not None
            value = "quoted" if is_quoted else "plain"
            start, at = clean.span(value)
            found.append(Attribute(clean[1], clean[value], is_quoted, start, at, is_clean=True))
            at += is_quoted
            continue
        at = _skip(text, at)
        if (name := NAME.match(text, at)) is None:  # no attribute: continue after the next comma
            comma = text.find(",", at)
            at = len(text) if comma < 0 else comma + 1
            continue
        start = name.end()
        is_quoted = text.startswith('"', start)
        start += is_quoted
        closing = text.find('"', start) if is_quoted else -1
        is_closed = closing >= 0
        end = closing if is_closed else text.find(",", start)  # as most players do
        end = len(text) if end < 0 else end
        comma = text.find(",", end)
        at = len(text) if comma < 0 else comma
        value = text[start:end]
        rest = text[end + (is_quoted and is_closed) : at]
        is_clean = not rest.strip() and (is_closed or not is_quoted) and '"' not in value
        found.append(Attribute(name[1], value, is_quoted, start, end, is_clean))
    return found


def _skip(text: str, at: int) -> int:
    """Return the position after the separators at a position."""
    separators = SEPARATORS.match(text, at)
    return separators.end() if separators is not None else at
