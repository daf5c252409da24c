"""Write a Media Playlist anew.

A segment is never left out, because that would renumber the segments after it.
"""

import re
from collections.abc import Callable, Mapping
from typing import ClassVar

from proxy.domain.allowed_hosts import AllowedHosts
from proxy.hls.attributes import Attributes, format_attributes
from proxy.hls.children import MARK
from proxy.hls.document import Document, SegmentRun
from proxy.hls.extinf import read_duration, read_title
from proxy.hls.lexer import MAX_LINE, Line, first_values
from proxy.hls.line_writer import LineWriter
from proxy.hls.media_facts import MediaFacts
from proxy.hls.resolve import UnresolvableError

# Lines as nearly all playlists have them, up to so many segments at once: they need no rewriting.
NAME_LINE = r"[A-Za-z0-9()=,~+@!_-][A-Za-z0-9()=,~+@!._-]{0,63}\n"
OTHER_TAG = (
    r"(?:#EXT-X-(?:PROGRAM-DATE-TIME:[0-9T:.Z+-]{10,40}|DISCONTINUITY|BITRATE:[0-9]{1,9})\n){0,4}+"
)
RUN = re.compile(
    rf"(?:{OTHER_TAG}#EXTINF:[0-9]{{1,6}}(?:\.[0-9]{{1,9}})?,[A-Za-z0-9 ._-]{{0,64}}\n"
    rf"{OTHER_TAG}{NAME_LINE}){{1,500}}",
    re.ASCII,
)
# Tags as nearly all playlists have them.
PLAIN_TAG = re.compile(
    r"#(EXT-X-(?:VERSION|TARGETDURATION|(?:MEDIA|DISCONTINUITY)-SEQUENCE|PLAYLIST-TYPE))"
    r":([0-9]{1,19}|EVENT|VOD)\n",
    re.ASCII,
)
BYTERANGE = re.compile(r"\s*([0-9]{1,19}(?:@[0-9]{1,19})?)\s*", re.ASCII)
MAP_BYTERANGE = re.compile(r'"?[0-9]{1,19}@[0-9]{1,19}"?', re.ASCII)
PART_BYTERANGE = re.compile(r'"?[0-9]{1,19}(?:@[0-9]{1,19})?"?', re.ASCII)
KEY_IV = re.compile(r"0[xX][0-9A-Fa-f]{1,32}", re.ASCII)
# The URI of a segment that no player can fetch.
NO_URI = "unavailable"
MARKUP = re.compile(r"\s*<")


class MediaWriter:
    """Writes a Media Playlist line by line."""

    def __init__(
        self,
        base: str,
        hosts: AllowedHosts,
        imported: Mapping[str, str],
        *,
        has_limits: bool,
    ) -> None:
        """Write a playlist; see `write_playlist`."""
        self.lines = LineWriter("media", base, hosts, imported)
        self._has_limits = has_limits
        self._output = self.lines.output
        self._facts = MediaFacts()
        self._offers_blocking = False
        self._segments = 0
        self._parts = 0
        # Of the segment whose URI is still to come
        self._extinf: str | None = None
        self._byterange: str | None = None
        self._is_gap = False
        # Of this and the following segments
        self._has_bad_key = self._has_bad_map = False
        self._has_keys_since_segment = False

    def write_plain_lines(self, text: str, at: int) -> int:
        """Write the lines from an offset on that need no rewriting; return where they end."""
        start, seen = at, self.lines.seen
        while (tag := PLAIN_TAG.match(text, at)) is not None and tag[1] not in seen:
            seen.add(tag[1])
            self._facts.add(tag[1], tag[2])
            at = tag.end()
        if at > start:
            self._output.append(text[start : at - 1])
        if self._extinf or self._byterange or self._is_gap:
            return at
        if self._has_bad_key or self._has_bad_map:
            return at
        if (run := RUN.match(text, at)) is None or self.lines.hosts.occur_in(run[0]):
            return at
        lines = run[0][:-1]
        split = lines.split("\n")  # mostly, each EXTINF is followed by a name
        has_others = 2 * lines.count("#") > len(split)
        names = [line for line in split if line[0] != "#"] if has_others else split[1::2]
        # Two replacements are four times as fast as a regular expression.
        marked = lines.replace("\n", f"\n{MARK}").replace(f"\n{MARK}#", "\n#")
        self.lines.children.count(len(names))
        self._output.append(SegmentRun(marked, names))
        self._segments += len(names)
        self._has_keys_since_segment = False
        return run.end()

    def write_line(self, number: int, text: str) -> None:
        """Write a line. Raises Refusal if a host is not allowed."""
        if (line := self.lines.read(number, text)) is None:
            return
        if (write := self._WRITERS.get(line.tag)) is not None:
            write(self, line)
        else:
            self._facts.add(line.tag, line.value)
            self.lines.write_tag(line)

    def finish(self) -> Document:
        """Return the written playlist."""
        self.lines.check()
        return Document(
            kind="media",
            blocks=self._output,
            children=self.lines.children.found,
            depends_on_url=self.lines.depends_on_url,
            is_vod=self._facts.is_vod,
            offers_blocking=self._offers_blocking,
            changes=self.lines.changes,
        )

    @property
    def unplayable(self) -> str:
        """The rule because of which there is nothing to play, now or later; else empty."""
        return "" if self._segments or self._parts else self._facts.explain_emptiness()

    def _write_segment(self, line: Line) -> None:
        if self._extinf is None:
            # Most players skip a segment without EXTINF; video.js gives it the target duration.
            # Markup and lines after the end are no segments.
            target = self._facts.target_duration
            is_none = MARKUP.match(line.text) is not None or len(line.text) > MAX_LINE
            if is_none or self._facts.has_ended or target is None:
                self._byterange, self._is_gap = None, False
                self.lines.drop(line.number)
                return
            self._extinf = f"{target},"
            self.lines.record(line.number, "changes")
        uri = NO_URI
        is_gap = self._is_gap or self._has_bad_key or self._has_bad_map
        try:
            uri = self.lines.add_uri(line, is_variant=False)
        except UnresolvableError:
            is_gap = True
        self._output.append(f"#EXTINF:{self._extinf}")
        if self._byterange is not None:
            self._output.append(f"#EXT-X-BYTERANGE:{self._byterange}")
        if is_gap:
            self._output.append("#EXT-X-GAP")
            if not self._is_gap:
                self.lines.record(line.number, "makes a gap of")
        self._output.append(uri)
        self._segments += 1
        self._extinf = self._byterange = None
        self._is_gap = self._has_keys_since_segment = False

    def _write_extinf(self, line: Line) -> None:
        duration = read_duration(line.value)
        if duration is None:
            duration, self._is_gap = self._facts.target_duration or "1", True
        title = read_title(line.value)
        self._extinf = f"{duration},{'' if self.lines.hosts.occur_in(title) else title}"
        if self._extinf != line.value:
            self.lines.record(line.number, "changes")

    def _read_byterange(self, line: Line) -> None:
        byterange = BYTERANGE.fullmatch(line.value)
        self._byterange = None if byterange is None else byterange[1]
        if byterange is None:
            self._is_gap = True
            self.lines.drop(line.number)

    def _read_gap(self, _line: Line) -> None:
        self._is_gap = True

    def _write_key(self, line: Line) -> None:
        """Write a key; make gaps if no key of its group is readable."""
        is_readable = True
        if first_values(line).get("METHOD") != "NONE":
            is_readable = self._write_readable(line, "IV", KEY_IV, "METHOD", "URI")
        else:
            self._output.append(f"#{line.tag}:METHOD=NONE")
            if len(line.attributes) > 1:
                self.lines.record(line.number, "changes")
        if is_readable or not self._has_keys_since_segment:
            self._has_bad_key = not is_readable
        self._has_keys_since_segment = True

    def _write_map(self, line: Line) -> None:
        self._has_bad_map = not self._write_readable(line, "BYTERANGE", MAP_BYTERANGE, "URI")

    def _write_readable(
        self, line: Line, name: str, pattern: re.Pattern[str], *required: str
    ) -> bool:
        """Write a tag without which segments cannot be read; return whether it is readable."""
        mark = self.lines.mark()
        attributes = self.lines.write_attributes(line, *required)
        if attributes is not None and not _fits(line, attributes, name, pattern):
            self.lines.discard(line, mark)
            attributes = None
        if attributes is not None:
            self._output.append(format_attributes(line.tag, attributes))
        return attributes is not None

    def _write_part(self, line: Line) -> None:
        mark = self.lines.mark()
        attributes = self.lines.write_attributes(line, "DURATION")
        if attributes is None:
            return
        if "URI" not in attributes or not _fits(line, attributes, "BYTERANGE", PART_BYTERANGE):
            self.lines.discard(line, mark)
            attributes = {"DURATION": attributes["DURATION"], "URI": f'"{NO_URI}"', "GAP": "YES"}
        self._output.append(format_attributes(line.tag, attributes))
        self._parts += 1

    def _write_hint(self, line: Line) -> None:
        self.lines.write_list(line, "TYPE", "URI")

    def _write_report(self, line: Line) -> None:
        if self._has_limits:  # the report may be about a variant beyond the limits
            self.lines.drop(line.number)
        else:
            self.lines.write_list(line, "URI")

    def _write_control(self, line: Line) -> None:
        attributes = self.lines.write_attributes(line)
        if attributes is not None:
            self._offers_blocking = attributes.get("CAN-BLOCK-RELOAD") == "YES"
            self._output.append(format_attributes(line.tag, attributes))

    # Bound methods in the instance would be a reference cycle, which only the garbage collector
    # frees: with the playlist, after many further requests.
    _WRITERS: ClassVar[dict[str, Callable[["MediaWriter", Line], None]]] = {
        "": _write_segment,
        "EXTINF": _write_extinf,
        "EXT-X-BYTERANGE": _read_byterange,
        "EXT-X-GAP": _read_gap,
        "EXT-X-KEY": _write_key,
        "EXT-X-MAP": _write_map,
        "EXT-X-PART": _write_part,
        "EXT-X-PRELOAD-HINT": _write_hint,
        "EXT-X-RENDITION-REPORT": _write_report,
        "EXT-X-SERVER-CONTROL": _write_control,
    }


def _fits(line: Line, attributes: Attributes, name: str, pattern: re.Pattern[str]) -> bool:
    """Return whether an attribute is readable, or was never there."""
    return name not in first_values(line) or pattern.fullmatch(attributes.get(name, "")) is not None
