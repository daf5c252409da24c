"""Checks of a playlist's text as a whole: its kind, its limits, its lines and characters."""

import re
from collections.abc import Iterator
from unicodedata import is_normalized

from proxy.hls.document import PlaylistKind
from proxy.hls.lexer import Line
from proxy.hls.lint.findings import Findings
from proxy.hls.tags import Scope

MAX_BYTES = 2 * 1024 * 1024
# The cost of a playlist depends more on its lines and tags than on its bytes: 2 MiB of newlines
# took seconds and half a gigabyte. A day of segments of 4 s has 43,200 lines.
MAX_LINES = 45_000
MAX_LISTS = 15_000  # tags with attributes: a third of the lines, if each segment has a key
MAX_ATTRIBUTES = 60_000
MAX_TAGS = {
    "EXT-X-STREAM-INF": 500,
    "EXT-X-I-FRAME-STREAM-INF": 500,
    "EXT-X-MEDIA": 500,
    "EXT-X-DEFINE": 200,
    "EXT-X-RENDITION-REPORT": 500,
    "EXT-X-SESSION-DATA": 500,
    "EXT-X-SESSION-KEY": 500,
    "EXT-X-PRELOAD-HINT": 500,
    "EXT-X-CONTENT-STEERING": 500,
}
CONTENT_TYPES = frozenset(
    {"application/vnd.apple.mpegurl", "application/x-mpegurl", "audio/mpegurl", "audio/x-mpegurl"}
)
MARKUP = re.compile(r"<[!/?A-Za-z]")
KINDS: dict[Scope, PlaylistKind] = {
    "multivariant": "multivariant",
    "media": "media",
    "segment": "media",
}
# As players recognize the kinds
IS_MEDIA = re.compile(r"^#EXT(?:INF|-X-TARGETDURATION):", re.MULTILINE)
IS_MULTIVARIANT = re.compile(r"^#EXT-X-STREAM-INF:", re.MULTILINE)
INDENTED = re.compile(r"(?<![^\r\n])[ \t]+(?=#EXT)")
LINE_END = re.compile(r"\r\n|\n|\r")
LONE_CR = re.compile(r"\r(?!\n)")
BOM = "\ufeff"
# Also line separators and a BOM inside the text: for some players, they are white space.
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff]")
NOT_UTF_8 = re.compile(r"[\udc80-\udcff]")  # invalid bytes, decoded with surrogateescape


def find_excess(text: str) -> tuple[str, int] | None:
    """Return the limit that a playlist exceeds, with its name; None if it exceeds none."""
    if text.count("\n") + text.count("\r") - text.count("\r\n") > MAX_LINES:
        return "lines", MAX_LINES
    return None


def check_lines(text: str, findings: Findings) -> None:
    """Check blank lines, indentation, line endings and normalization."""
    if text[:1].isspace():
        findings.add("blank-first", 1)
    if not text.endswith("\n"):
        findings.add("last-line", text.count("\n") + 1)
    for number in find_indented(text):
        findings.add("indented", number)
    if (lone := LONE_CR.search(text)) is not None:
        findings.add("line-end", 1 + text.count("\n", 0, lone.start()))
    if not is_normalized("NFC", text):
        for number, line in enumerate(LINE_END.split(text), start=1):
            if not is_normalized("NFC", line):
                findings.add("normalization", number)


def find_indented(text: str) -> Iterator[int]:
    """Yield the numbers of lines with an indented tag."""
    number = at = 0
    for found in INDENTED.finditer(text):
        number += len(LINE_END.findall(text, at, found.start()))
        at = found.start()
        yield number + 1


class TagCount:
    """Counts the tags and attributes of a playlist line by line."""

    def __init__(self) -> None:
        self._lists = self._attributes = 0
        self._tags = dict.fromkeys(MAX_TAGS, 0)

    def add(self, line: Line) -> tuple[str, int] | None:
        """Count a line; return the exceeded limit as `find_excess` does."""
        if line.tag in self._tags:
            self._tags[line.tag] += 1
            if self._tags[line.tag] > MAX_TAGS[line.tag]:
                return f"{line.tag} tags", MAX_TAGS[line.tag]
        self._lists += bool(line.attributes)
        self._attributes += len(line.attributes)
        if self._lists > MAX_LISTS:
            return "tags with attributes", MAX_LISTS
        return ("attributes", MAX_ATTRIBUTES) if self._attributes > MAX_ATTRIBUTES else None


def check_scheme(url: str) -> str:
    """Return why no player would fetch a URL, regardless of its host; empty if players might."""
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", url)
    if scheme is None or scheme[1].lower() in {"http", "https", "skd"}:
        return ""
    return f"its scheme is {scheme[1]}"


def find_kind(text: str) -> PlaylistKind | None:
    """Return the kind of a playlist as players recognize it; None if it has no such tag."""
    if IS_MEDIA.search(text) is not None:
        return "media"
    return "multivariant" if IS_MULTIVARIANT.search(text) is not None else None
