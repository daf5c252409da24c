"""Write the lines that both kinds of playlist have."""

import re
from collections.abc import Mapping

from proxy.domain.allowed_hosts import AllowedHosts
from proxy.domain.reasons import Reason, Refusal
from proxy.hls.attributes import (
    ATTRIBUTE_NAME,
    Attributes,
    AttributeWriter,
    OptionalTagError,
    format_attributes,
)
from proxy.hls.children import MARK, Children
from proxy.hls.clean_text import clean_raw_value, contains_url
from proxy.hls.document import MAX_CHANGES, Change, ChangeKind, PlaylistKind, SegmentRun
from proxy.hls.lexer import MAX_LINE, Line, first_values, read_line
from proxy.hls.tags import TAGS, Scope
from proxy.hls.variables import Variables

# The most expensive tags are limited: each is sealed by itself, or kept until the end.
MAX_TAGS = 500
LIMITED_TAGS = frozenset(
    {
        "EXT-X-STREAM-INF",
        "EXT-X-I-FRAME-STREAM-INF",
        "EXT-X-IMAGE-STREAM-INF",
        "EXT-X-MEDIA",
        "EXT-X-DEFINE",
        "EXT-X-RENDITION-REPORT",
        "EXT-X-SESSION-DATA",
        "EXT-X-SESSION-KEY",
        "EXT-X-PRELOAD-HINT",
    }
)
LINES_PER_SLICE = 50
LONG_LINE = 500  # characters; each longer line is a slice of its own
# If a line is too long, the segments after these are repaired or become gaps.
TAGS_OF_SEGMENTS = frozenset({"EXTINF", "EXT-X-BYTERANGE", "EXT-X-KEY", "EXT-X-MAP", "EXT-X-PART"})
VALUE = re.compile(r"[0-9]{1,20}|EVENT|VOD", re.ASCII)
DATE = re.compile(r"[0-9]{4}[0-9TZtz:.,+ -]{1,60}", re.ASCII)
TAG_NAME = re.compile(r"EXT[A-Z0-9_-]{0,64}", re.ASCII | re.IGNORECASE)
BASE_DEPENDENT = frozenset({"QUERYPARAM", "IMPORT"})
# The scopes whose tags do not occur in a playlist of this kind.
FOREIGN_SCOPES: dict[PlaylistKind, frozenset[Scope]] = {
    "media": frozenset({"multivariant"}),
    "multivariant": frozenset({"media", "segment"}),
}


class LineWriter:
    """Writes tags in canonical form, and limits how many there are."""

    def __init__(
        self, kind: PlaylistKind, base: str, hosts: AllowedHosts, imported: Mapping[str, str]
    ) -> None:
        """Write tags of one kind of playlist, see `write_playlist`."""
        self.hosts = hosts
        self.children = Children(base, hosts)
        self.variables = Variables(base, imported)
        self.output: list[str | SegmentRun] = ["#EXTM3U"]
        self.changes: list[Change] = []
        self._uses_outer_variables = False
        self._foreign = FOREIGN_SCOPES[kind]
        self._attributes = AttributeWriter(self.children, self.variables, hosts)
        self.seen: set[str] = set()  # tags
        self._counts: dict[str, int] = {}

    def read(self, number: int, text: str) -> Line | None:
        """Return a line with a tag or a URI; None if the line is dropped.

        Drops comments, lines that are too long, tags of the other kind of playlist, and repeated
        tags that must occur only once.
        """
        text = text.strip()
        if not text or text.startswith("#EXTM3U"):
            return None
        is_uri = text[0] != "#"
        if not is_uri and not text.startswith("#EXT"):  # a comment
            self.drop(number)
            return None
        line = read_line(number, text)
        is_kept = is_uri or line.tag in TAGS_OF_SEGMENTS
        if len(text) > MAX_LINE and not is_kept:
            self.drop(number)
            return None
        tag = TAGS.get(line.tag)
        is_malformed = line.tag and TAG_NAME.fullmatch(line.tag) is None
        is_misplaced = tag is not None and (
            tag.scope in self._foreign or (tag.once and line.tag in self.seen)
        )
        if is_malformed or is_misplaced:
            self.drop(number)
            return None
        self.seen.add(line.tag)
        if line.tag in LIMITED_TAGS:
            count = self._counts[line.tag] = self._counts.get(line.tag, 0) + 1
            if count > MAX_TAGS:
                raise Refusal(
                    Reason.PLAYLIST_INVALID, f"the playlist has more than {MAX_TAGS} {line.tag}"
                )
        return line

    @property
    def depends_on_url(self) -> bool:
        """Whether the same lines may mean something else for another URL or another viewer."""
        return self._uses_outer_variables or self.children.has_signatures

    def drop(self, number: int) -> None:
        """Record that a line is dropped."""
        self.record(number, "drops")

    def mark(self) -> int:
        """Return a mark for `discard`."""
        return len(self.children.found)

    def discard(self, line: Line, mark: int) -> None:
        """Drop a tag that was written since a mark, with its children."""
        del self.children.found[mark:]
        self.drop(line.number)

    def record(self, number: int, kind: ChangeKind) -> None:
        """Record that a line is changed."""
        if len(self.changes) < MAX_CHANGES:
            self.changes.append(Change(number, kind))

    def write_tag(self, line: Line) -> None:
        """Write a tag that needs no special treatment."""
        tag = TAGS.get(line.tag)
        if line.tag == "EXT-X-DEFINE":
            self._define(line)
        elif tag is not None and tag.role is not None:
            self._write_uri_tag(line)
        elif tag is not None and not tag.attrs:
            self._write_value(line, has_value=tag.value is not None)
        elif tag is None and not _is_list(line):
            self._write_unknown(line)
        else:
            self.write_list(line)

    def write_list(self, line: Line, *required: str) -> None:
        """Write a tag with an attribute list; drops it as `write_attributes` does."""
        if (attributes := self.write_attributes(line, *required)) is not None:
            self.output.append(format_attributes(line.tag, attributes))

    def write_attributes(self, line: Line, *required: str) -> Attributes | None:
        """Return the attributes of a relayed tag; None if the tag is dropped.

        Args:
            line: the tag.
            required: attributes without which the tag is dropped; if the tag has attributes, at
                least one is always required.
        """
        count = self.mark()
        try:
            attributes = self._attributes.write(line)
        except OptionalTagError:
            attributes = {}
        if not attributes or not attributes.keys() >= set(required):
            self.discard(line, count)
            return None
        if len(attributes) < len(line.attributes) or not _is_same(line, attributes):
            self.record(line.number, "changes")
        return attributes

    def add_uri(self, line: Line, *, is_variant: bool) -> str:
        """Return the text for the URI of a variant or a segment.

        Raises:
            UnresolvableError: no player can resolve the URI.
            Refusal: the URI leads to a host that is not allowed.
        """
        uri = self.variables.fill(line.text)
        return self.children.add(uri, "playlist" if is_variant else "segment")

    def check(self) -> None:
        """Raise Refusal `playlist-invalid` if the variables insert too much text."""
        if self.variables.is_used_up:
            raise Refusal(Reason.PLAYLIST_INVALID, "the variables would insert more than 2 MiB")

    def _define(self, line: Line) -> None:
        attributes = first_values(line)
        self._uses_outer_variables |= not BASE_DEPENDENT.isdisjoint(attributes)
        self.variables.define(attributes)

    def _write_uri_tag(self, line: Line) -> None:
        try:
            uri = self._attributes.write_value(line, "segment")
        except OptionalTagError:
            self.drop(line.number)
        else:
            self.output.append(f"#{line.tag}:{uri}")

    def _write_value(self, line: Line, *, has_value: bool) -> None:
        if not has_value:
            self.output.append(f"#{line.tag}")
        elif (value := self._read_value(line)) is None:
            self.drop(line.number)
        else:
            self.output.append(f"#{line.tag}:{value}")
            if value != line.value:
                self.record(line.number, "changes")

    @staticmethod
    def _read_value(line: Line) -> str | None:
        """Return the value of a known tag as every player reads it."""
        pattern = DATE if line.tag == "EXT-X-PROGRAM-DATE-TIME" else VALUE
        value = pattern.match(line.value.strip())
        return None if value is None else value[0].rstrip()

    def _write_unknown(self, line: Line) -> None:
        value = clean_raw_value(self.variables.fill(line.value.strip()))
        if value is None or contains_url(line.text[1:]) or self.hosts.occur_in(value):
            self.drop(line.number)
        else:
            self.output.append(f"#{line.tag}:{value}" if value else f"#{line.tag}")


def _is_list(line: Line) -> bool:
    """Return whether the value of an unknown tag is an attribute list, not Base64 for example."""
    names = [attribute.name for attribute in line.attributes]
    return bool(names) and all(ATTRIBUTE_NAME.fullmatch(name) for name in names)


def _is_same(line: Line, attributes: Attributes) -> bool:
    """Return whether the attributes are written as they were received, apart from URIs."""
    return all(
        is_clean
        and (MARK in attributes[name] or attributes[name] == (f'"{value}"' if is_quoted else value))
        for name, value, is_quoted, _, _, is_clean in line.attributes
    )
