"""Check a playlist against the rules, in one pass over its lines."""

from collections.abc import Callable, Mapping
from contextlib import suppress

from proxy.hls.attributes import KEY_TAGS, LOCAL_KEY
from proxy.hls.document import PlaylistKind
from proxy.hls.lexer import MAX_LINE, Attribute, Line, is_too_long
from proxy.hls.lint.findings import Findings
from proxy.hls.lint.media import Media
from proxy.hls.lint.multivariant import Multivariant
from proxy.hls.lint.references import Reference, read_references
from proxy.hls.lint.report import Report
from proxy.hls.lint.text import (
    BOM,
    CONTENT_TYPES,
    CONTROL,
    INDENTED,
    KINDS,
    MARKUP,
    MAX_BYTES,
    NOT_UTF_8,
    TagCount,
    check_lines,
    check_scheme,
    find_excess,
    find_kind,
)
from proxy.hls.lint.versions import Versions
from proxy.hls.playlist_writer import is_playlist
from proxy.hls.resolve import UnresolvableError, resolve_uri
from proxy.hls.tags import TAGS, Tag
from proxy.hls.variables import MAX_INSERTED, Variables

VARIANT_TAGS = frozenset({"EXT-X-STREAM-INF", "EXT-X-I-FRAME-STREAM-INF"})
PLAYLIST_TAGS = VARIANT_TAGS | {"EXT-X-MEDIA"}
# Removed tags and attributes, with the version that removed them
DEPRECATED = {"EXT-X-ALLOW-CACHE": 7, "PROGRAM-ID": 6}


def check(
    body: bytes,
    *,
    base: str = "",
    why_not: Callable[[str], str] | None = None,
    content_type: str | None = None,
    imported: Mapping[str, str | None] | None = None,
) -> Report:
    """Return the findings in a body that should be a playlist.

    Args:
        body: as received.
        base: the playlist's URL after redirects; empty for a file.
        why_not: returns why an absolute URL is not allowed, or an empty text.
        content_type: as the server sent it; empty if it sent none, None for a file.
        imported: the variables of its Multivariant Playlist, or None if that is unknown.
    """
    findings = Findings()
    if len(body) > MAX_BYTES:
        findings.add("size", None, limit=MAX_BYTES)
        return Report(kind=None, findings=findings.in_order(), text="")
    text = body.decode(errors="surrogateescape")
    if text.startswith(BOM):
        findings.add("bom", 1)
        text = text.removeprefix(BOM)
    if not is_playlist(body):
        findings.add("extm3u", 1)
        return Report(kind=None, findings=findings.in_order(), text=text)
    if (excess := find_excess(text)) is not None:
        findings.add("excess", None, what=excess[0], limit=excess[1])
        return Report(kind=None, findings=findings.in_order(), text=text)
    if content_type == "":
        findings.add("content-type-missing", None)
    elif content_type is not None and content_type.lower() not in CONTENT_TYPES:
        findings.add("content-type", None, found=content_type)
    check_lines(text, findings)
    variables = Variables(base, imported)
    checked = _Pass(findings, base, why_not or check_scheme, variables)
    kind = checked.run(INDENTED.sub("", text))
    tags = frozenset(checked.seen)
    return Report(kind=kind, findings=findings.in_order(), text=text, tags=tags)


class _Pass:
    """One pass over the lines. Checks the rules for all tags; the others depend on the kind."""

    def __init__(
        self, findings: Findings, base: str, why_not: Callable[[str], str], variables: Variables
    ) -> None:
        self._findings = findings
        self._base = base
        self._why_not = why_not
        self._variables = variables
        self._versions = Versions(findings)
        self._rules: dict[PlaylistKind, Multivariant | Media] = {
            "multivariant": Multivariant(findings, self._versions),
            "media": Media(findings, self._versions),
        }
        self._kind: PlaylistKind | None = None
        self.seen: set[str] = set()
        self._imports: list[Line] = []
        self._is_mixed = False
        self._count = TagCount()

    def run(self, text: str) -> PlaylistKind | None:
        """Check every line, then the rules that need the whole playlist."""
        self._kind = find_kind(text)
        is_plain = CONTROL.search(text) is None and NOT_UTF_8.search(text) is None
        for line, found in read_references(text):
            if not is_plain:
                self._check_characters(line)
            if (excess := self._count.add(line)) is not None:
                self._findings.found.clear()
                self._findings.add("excess", None, what=excess[0], limit=excess[1])
                return None
            is_long = is_too_long(line.text)
            if is_long:
                self._findings.add("line-length", line.number, limit=MAX_LINE)
            if line.tag:
                self._check_tag(line, is_long=is_long)
            elif MARKUP.match(line.text) is not None:
                self._findings.add("markup", line.number)
                found.clear()
            elif uri := line.uri:
                self._kind = self._kind or "media"
                self._check_variables(line, uri)
                self._rules[self._kind].see_uri(line, uri)
            for reference in found:
                self._check_uri(reference)
        self._finish()
        return self._kind

    def _check_characters(self, line: Line) -> None:
        if CONTROL.search(line.text) is not None:
            self._findings.add("control-character", line.number)
        if NOT_UTF_8.search(line.text) is not None:
            self._findings.add("encoding", line.number)

    def _finish(self) -> None:
        if self._variables.is_used_up:
            what = "characters from variables"
            self._findings.add("excess", None, what=what, limit=MAX_INSERTED)
        if self._kind is None:
            self._findings.add("empty", None)
        else:
            self._rules[self._kind].finish()
        if self._kind == "multivariant":
            for line in self._imports:
                self._findings.add("define", line.number)
        self._versions.finish()

    def _check_tag(self, line: Line, *, is_long: bool) -> None:
        attributes = line.attributes if line.tag in VARIANT_TAGS else ()
        for name in sorted(DEPRECATED.keys() & {line.tag, *(it.name for it in attributes)}):
            self._findings.add("deprecated", line.number, name=name, version=DEPRECATED[name])
        if (tag := TAGS.get(line.tag)) is None:
            return
        if tag.once and line.tag in self.seen:
            self._findings.add("tag-repeated", line.number, tag=line.tag, section=tag.section)
        self.seen.add(line.tag)
        self._check_kind(line, tag)
        if tag.value is not None and not tag.value.fits(line.value.strip()):
            self._findings.add(
                *("tag-value", line.number),
                tag=line.tag,
                section=tag.section,
                words=tag.value.words,
            )
        values = self._check_attributes(line, tag) if tag.attrs and not is_long else {}
        if line.tag == "EXT-X-VERSION":
            self._versions.declare(line)
        elif line.tag == "EXT-X-DEFINE":
            self._define(line, values)
        elif self._kind is not None:
            self._rules[KINDS.get(tag.scope, self._kind)].see_tag(line, values)

    def _check_kind(self, line: Line, tag: Tag) -> None:
        if tag.scope == "any":
            return
        kind = KINDS[tag.scope]
        self._kind = self._kind or kind
        if kind != self._kind and not self._is_mixed:
            self._is_mixed = True
            self._findings.add("tags-mixed", line.number, tag=line.tag, scope=kind, kind=self._kind)

    def _check_attributes(self, line: Line, tag: Tag) -> dict[str, str]:
        named: dict[str, Attribute] = {}
        for attribute in line.attributes:
            if attribute.name in named:
                self._report("attribute-repeated", line, tag, name=attribute.name)
                continue
            named[attribute.name] = attribute
            if not attribute.is_clean:
                rule = "attribute-text" if attribute.is_quoted else "attribute-syntax"
                self._report(rule, line, tag, name=attribute.name)
            if attribute.is_quoted:
                self._check_variables(line, attribute.value)
        for attr in tag.attrs:
            if (given := named.get(attr.name)) is None:
                if attr.required:
                    self._report("attribute-missing", line, tag, name=attr.name)
                continue
            wanted = True if attr.role is not None else attr.shape.is_quoted
            if wanted is not None and wanted != given.is_quoted and given.is_clean:
                self._report("attribute-syntax", line, tag, name=attr.name)
            value = self._variables.fill(given.value)
            if not attr.shape.fits(value) and "{$" not in value:
                rule = "attribute-advice" if attr.shape.is_advice else "attribute-value"
                self._report(rule, line, tag, name=attr.name, words=attr.shape.words)
        return {name: self._variables.fill(it.value) for name, it in named.items()}

    def _define(self, line: Line, values: dict[str, str]) -> None:
        self._versions.use(
            "EXT-X-DEFINE with QUERYPARAM" if "QUERYPARAM" in values else line.tag, line
        )
        name = self._variables.define(values)
        if name is None and self._base and values.get("QUERYPARAM") in self._variables.unknown:
            name = ""
        if "IMPORT" in values and self._kind != "media":
            self._imports.append(line)
        elif self._variables.lacks_import(values):
            self._findings.add("import-undefined", line.number, name=values["IMPORT"])
        if name is not None:
            self._findings.add("define-repeated" if name else "define", line.number, name=name)

    def _check_variables(self, line: Line, text: str) -> None:
        for name in self._variables.undefined(text):
            self._findings.add("variable-undefined", line.number, name=name)

    def _check_uri(self, reference: Reference) -> None:
        uri = self._variables.fill(reference.uri)
        if "{$" in uri:
            return
        why = "it is not a valid URL"
        with suppress(UnresolvableError):
            why = self._explain(reference, url := resolve_uri(self._base, uri))
            if self._base and url == self._base and reference.tag in PLAYLIST_TAGS:
                self._findings.add("self-reference", reference.line)
        if why:
            self._findings.add("uri", reference.line, why=why)

    def _explain(self, reference: Reference, url: str) -> str:
        """Return why a URL is not allowed, else nothing."""
        is_key = reference.tag in KEY_TAGS and LOCAL_KEY.match(url) is not None
        is_data = reference.tag == "EXT-X-CONTENT-STEERING" and url.startswith("data:")
        return "" if is_key or is_data else self._why_not(url)

    def _report(self, rule: str, line: Line, tag: Tag, **fields: object) -> None:
        self._findings.add(rule, line.number, tag=line.tag, section=tag.section, **fields)
