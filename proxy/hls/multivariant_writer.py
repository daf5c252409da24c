"""Write a Multivariant Playlist anew, without the variants that a viewer may not play."""

from collections.abc import Generator, Mapping
from typing import NamedTuple

from proxy.domain.allowed_hosts import AllowedHosts
from proxy.domain.variant_limits import VariantLimits
from proxy.hls.attributes import format_attributes
from proxy.hls.document import Document
from proxy.hls.lexer import Line, first_values
from proxy.hls.line_writer import LINES_PER_SLICE, LONG_LINE, LineWriter
from proxy.hls.resolve import UnresolvableError

VARIANT = "EXT-X-STREAM-INF"
SIZED_TAGS = frozenset({VARIANT, "EXT-X-I-FRAME-STREAM-INF", "EXT-X-IMAGE-STREAM-INF"})
REQUIRED: dict[str, tuple[str, ...]] = {
    "EXT-X-I-FRAME-STREAM-INF": ("URI",),
    "EXT-X-IMAGE-STREAM-INF": ("URI",),
    "EXT-X-MEDIA": ("TYPE",),
    "EXT-X-SESSION-KEY": ("METHOD", "URI"),
    "EXT-X-CONTENT-STEERING": ("SERVER-URI",),
}


class Kept(NamedTuple):
    """A tag, and the URI line of a variant."""

    tag: Line
    uri: Line | None


class MultivariantWriter:
    """Writes a Multivariant Playlist, once all its lines are known."""

    def __init__(
        self,
        base: str,
        hosts: AllowedHosts,
        imported: Mapping[str, str],
        *,
        limits: VariantLimits,
    ) -> None:
        """Write a playlist; see `write_playlist`."""
        self.lines = LineWriter("multivariant", base, hosts, imported)
        self._limits = limits
        self._kept: list[Kept] = []
        self._variant: Line | None = None  # whose URI is still to come

    def write_line(self, number: int, text: str) -> None:
        """Read a line."""
        if (line := self.lines.read(number, text)) is None:
            return
        if line.tag == VARIANT:
            if self._variant is not None:
                self.lines.drop(self._variant.number)
            self._variant = line
        elif line.tag:
            self._kept.append(Kept(line, None))
        elif self._variant is None:
            self.lines.drop(number)
        else:
            self._kept.append(Kept(self._variant, line))
            self._variant = None

    def finish(self) -> Generator[None, None, Document]:
        """Return the written playlist, in slices. Raises Refusal if a host is not allowed."""
        allowed: list[Kept] = []
        groups: set[str | None] = set()  # of video renditions
        for number, kept in enumerate(self._kept, start=1):
            if self._is_allowed(kept.tag):
                allowed.append(kept)
                groups |= {_read(kept.tag).get("VIDEO")} if kept.uri is not None else set()
            if not number % LINES_PER_SLICE:
                yield
        count = 0
        for number, (tag, uri) in enumerate(allowed, start=1):
            if not number % LINES_PER_SLICE or len(tag.text) > LONG_LINE:
                yield
            if self._limits and _is_unused(tag, groups):
                self.lines.drop(tag.number)
            elif uri is not None:
                count += self._write_variant(tag, uri)
            elif tag.tag in REQUIRED:
                self._write_required(tag)
            else:
                self.lines.write_tag(tag)
        self.lines.check()
        found = self.lines.children.found
        values = self.lines.variables.values
        return Document(
            kind="multivariant",
            blocks=self.lines.output,
            children=found,
            variables={name: value for name, value in values.items() if value is not None},
            depends_on_url=self.lines.depends_on_url,
            variant_count=count,
            changes=sorted(self.lines.changes),
        )

    def _is_allowed(self, tag: Line) -> bool:
        is_allowed = (
            tag.tag not in SIZED_TAGS or not self._limits or self._limits.allows(_read(tag))
        )
        if not is_allowed:
            self.lines.drop(tag.number)
        return is_allowed

    def _write_variant(self, tag: Line, uri: Line) -> bool:
        mark = self.lines.mark()
        attributes = self.lines.write_attributes(tag)
        if attributes is None:
            return False
        try:
            text = self.lines.add_uri(uri, is_variant=True)
        except UnresolvableError:
            self.lines.discard(tag, mark)
            return False
        self.lines.output += format_attributes(tag.tag, attributes), text
        return True

    def _write_required(self, tag: Line) -> None:
        required = REQUIRED[tag.tag]
        if tag.tag == "EXT-X-MEDIA" and first_values(tag).get("URI"):
            required = (*required, "URI")  # without it, the rendition would be in the variants
        self.lines.write_list(tag, *required)


def _read(tag: Line) -> dict[str, str]:
    return {name: value.strip() for name, value in first_values(tag).items()}


def _is_unused(tag: Line, groups: set[str | None]) -> bool:
    """Return whether a tag is a video rendition that no remaining variant refers to."""
    values = _read(tag) if tag.tag == "EXT-X-MEDIA" else {}
    return values.get("TYPE") == "VIDEO" and values.get("GROUP-ID") not in groups
