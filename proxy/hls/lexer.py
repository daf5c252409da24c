"""A playlist line by line, and a tag's attributes with where each of them stands.

Nothing here refuses anything: whatever text comes, every character of it is in some line. Lines are
tuples with names, which are made in a third of the time that a frozen dataclass takes.
"""

import re
from collections.abc import Container, Iterator, Sequence
from typing import NamedTuple

# RFC 8216bis, 4.1 knows LF and CRLF; players end a line at a lone CR too, and a URI behind one
# must not stay unseen.
LINE = re.compile(r"([^\r\n]*)(\r\n|\n|\r|\Z)")
TAG = re.compile(r"#(EXT[^:\s]*)(:?)")
SEPARATORS = re.compile(r"[\s,]*")
# One attribute as nearly all are written: one match where the general way takes several steps.
CLEAN = re.compile(
    r'[\s,]*([^\s=,"]+)=(?:"(?P<quoted>[^"]*)"|(?P<plain>(?:[^",\s][^",]*)?))(?=,|\Z)'
)
NAME = re.compile(r"([^\s=,\"]+)\s*=\s*")
MAX_LINE = 4096  # bytes


class Attribute(NamedTuple):
    """A member of an attribute list (4.2); its value's place is counted in the line's text."""

    name: str
    value: str
    is_quoted: bool
    start: int
    end: int
    is_clean: bool  # nothing unexpected beside the value


class Line(NamedTuple):
    """One line without what ends it.

    `tag` is its name without `#`, and empty on every other kind of line; `value` is what follows
    the colon and begins at `value_at` of the text. `attributes` are its attributes in order, as far
    as the value can be read as a list of them; none are read of a line that is too long.
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
        """Return the URI where this is a URI line, else nothing (RFC 8216bis, 4.1)."""
        return "" if self.text.startswith("#") else self.text.strip(" \t")


def scan(text: str, *, read_of: Container[str] | None = None) -> Iterator[Line]:
    """Yield the lines of a text; put together again, they are the text.

    Args:
        text: the text.
        read_of: the tags whose attributes are read; None means all.
    """
    for number, line in enumerate(LINE.finditer(text), start=1):
        if line[0]:
            yield read_line(number, line[1], line[2], read_of)


def read_line(
    number: int, content: str, ending: str = "", read_of: Container[str] | None = None
) -> Line:
    """Return one line with its tag and attributes."""
    if not content.startswith("#EXT") or (tag := TAG.match(content)) is None:
        return Line(number, content, ending)
    at = tag.end()
    value = content[at:] if tag[2] else ""
    may_have = tag[1].startswith("EXT-X-") if read_of is None else tag[1] in read_of
    has_list = may_have and "=" in value and not is_too_long(content)
    found = _attributes(content, at) if has_list else ()
    return Line(number, content, ending, tag[1], value, at, found)


def is_too_long(line: str) -> bool:
    """Say whether a line is longer than any that is worth reading."""
    if len(line) <= MAX_LINE // 4:  # no character takes more than four bytes
        return False
    return len(line.encode(errors="surrogateescape")) > MAX_LINE


def first_values(line: Line) -> dict[str, str]:
    """Return a tag's attributes by name; of one that stands twice, the first."""
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
        if (name := NAME.match(text, at)) is None:  # no attribute: look behind the next comma
            comma = text.find(",", at)
            at = len(text) if comma < 0 else comma + 1
            continue
        start = name.end()
        is_quoted = text.startswith('"', start)
        start += is_quoted
        closing = text.find('"', start) if is_quoted else -1
        is_closed = closing >= 0
        end = closing if is_closed else text.find(",", start)  # most players end it there, too
        end = len(text) if end < 0 else end
        comma = text.find(",", end)
        at = len(text) if comma < 0 else comma
        value = text[start:end]
        rest = text[end + (is_quoted and is_closed) : at]
        is_clean = not rest.strip() and (is_closed or not is_quoted) and '"' not in value
        found.append(Attribute(name[1], value, is_quoted, start, end, is_clean))
    return found


def _skip(text: str, at: int) -> int:
    """Return where the next attribute may begin. Each separator is looked at once."""
    separators = SEPARATORS.match(text, at)
    return separators.end() if separators is not None else at
