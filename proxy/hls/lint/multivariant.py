"""The rules for Multivariant Playlists that concern several tags (RFC 8216bis, 4.4.6)."""

from collections import Counter

from proxy.hls.lexer import Line
from proxy.hls.lint.findings import Findings
from proxy.hls.lint.versions import Versions
from proxy.hls.value_syntax import CAPTIONS

GROUP_TYPES = ("AUDIO", "VIDEO", "SUBTITLES", "CLOSED-CAPTIONS")
OF_ONE_TYPE = {
    "FORCED": "SUBTITLES",
    "BIT-DEPTH": "AUDIO",
    "SAMPLE-RATE": "AUDIO",
    "CHANNELS": "AUDIO",
}
KEY_IDENTITY = ("METHOD", "URI", "IV", "KEYFORMAT", "KEYFORMATVERSIONS")

Values = dict[str, str]


class Multivariant:
    """Checks one Multivariant Playlist."""

    def __init__(self, findings: Findings, versions: Versions) -> None:
        self._findings = findings
        self._versions = versions
        self._variants: list[tuple[Line, Values]] = []
        self._frames: list[tuple[Line, Values]] = []
        # The NAMEs of the renditions, and the first line, by TYPE and GROUP-ID
        self._groups: dict[tuple[str, str], tuple[set[str], Line]] = {}
        self._seen: Counter[tuple[str, ...]] = Counter()
        self._steering: tuple[Line, Values] | None = None
        self._awaiting_uri: Line | None = None
        self._is_playable = False

    def see_tag(self, line: Line, values: Values) -> None:
        """Check a tag of a Multivariant Playlist or of any playlist."""
        if any(name.startswith("REQ-") for name in values):
            self._versions.use("A REQ- attribute", line)
        match line.tag:
            case "EXT-X-STREAM-INF":
                self._see_variant(line, values)
            case "EXT-X-I-FRAME-STREAM-INF":
                self._frames.append((line, values))
            case "EXT-X-MEDIA":
                self._see_rendition(line, values)
            case "EXT-X-SESSION-DATA":
                self._see_data(line, values)
            case "EXT-X-SESSION-KEY":
                self._see_key(line, values)
            case "EXT-X-CONTENT-STEERING":
                self._steering = self._steering or (line, values)
            case _:
                pass

    def see_uri(self, line: Line, _uri: str) -> None:
        """Check the URI of the preceding variant."""
        if self._awaiting_uri is None:
            self._findings.add("variant-stray", line.number)
        else:
            self._is_playable = True
        self._awaiting_uri = None

    def finish(self) -> None:
        """Check the rules that need the whole playlist."""
        self._expect_no_uri()
        if not self._is_playable:
            self._findings.add("variants-none", None)
        for line, values in self._variants:
            self._check_groups(line, values)
        some_none = any(it.get("CLOSED-CAPTIONS") == "NONE" for _, it in self._variants)
        some_score = any("SCORE" in it for _, it in self._variants)
        for line, values in self._variants:
            if some_none and values.get("CLOSED-CAPTIONS") != "NONE":
                self._findings.add("captions-none", line.number)
            if some_score and "SCORE" not in values:
                self._findings.add("score-some", line.number)
        for line, values in self._frames:
            self._check_groups(line, values)
        self._check_steering()
        self._check_members()

    def _check_members(self) -> None:
        """Check that the groups of each TYPE have renditions with the same NAMEs.

        Except of video: with one group for each variant, the NAME is often the quality.
        """
        first: dict[str, tuple[str, set[str]]] = {}
        for (kind, group), (names, line) in self._groups.items():
            if kind not in {"AUDIO", "SUBTITLES"} or "" in {group, *names}:
                continue
            other, expected = first.setdefault(kind, (group, names))
            if names != expected:
                fields = {"group": group, "other": other, "type": kind}
                self._findings.add("group-members", line.number, **fields)

    def _check_steering(self) -> None:
        """Check that the first pathway exists; a variant without PATHWAY-ID is in pathway `.`."""
        line, values = self._steering or (None, {})
        name = values.get("PATHWAY-ID", ".")
        pathways = {values.get("PATHWAY-ID", ".") for _, values in self._variants}
        if line is not None and name not in pathways and "PATHWAY-ID" in values:
            self._findings.add("steering-pathway", line.number, name=name)

    def _see_variant(self, line: Line, values: Values) -> None:
        self._expect_no_uri()
        self._awaiting_uri = line
        self._variants.append((line, values))

    def _expect_no_uri(self) -> None:
        if self._awaiting_uri is not None:
            self._findings.add("variant-uri", self._awaiting_uri.number)

    def _check_groups(self, line: Line, values: Values) -> None:
        for kind in GROUP_TYPES:
            group = values.get(kind)
            if group is None or (kind == "CLOSED-CAPTIONS" and group == "NONE"):
                continue
            if (kind, group) not in self._groups:
                self._findings.add("group", line.number, type=kind, group=group)

    def _see_rendition(self, line: Line, values: Values) -> None:
        kind, group, name = (values.get(key, "") for key in ("TYPE", "GROUP-ID", "NAME"))
        names, _ = self._groups.setdefault((kind, group), (set(), line))
        names.add(name)
        if self._is_second("name", kind, group, name):
            self._findings.add("media-name", line.number, group=group, name=name)
        if _says(values, "DEFAULT", "YES"):
            if self._is_second("default", kind, group):
                self._findings.add("media-default", line.number, group=group)
            if _says(values, "AUTOSELECT", "NO"):
                self._findings.add("media-autoselect", line.number)
        for name, its_kind in OF_ONE_TYPE.items():
            if name in values and kind and kind != its_kind:
                self._forbid(line, name, f"with TYPE={kind}")
        if kind == "SUBTITLES" and "URI" not in values:
            self._require(line, "URI")
        if kind == "CLOSED-CAPTIONS":
            self._see_captions(line, values)
        elif "INSTREAM-ID" in values:
            self._versions.use("INSTREAM-ID outside CLOSED-CAPTIONS", line)

    def _see_captions(self, line: Line, values: Values) -> None:
        if "URI" in values:
            self._forbid(line, "URI", "with TYPE=CLOSED-CAPTIONS")
        channel = values.get("INSTREAM-ID")
        if channel is None:
            self._require(line, "INSTREAM-ID")
        elif CAPTIONS.pattern.fullmatch(channel) is None:
            self._findings.add(
                *("attribute-value", line.number),
                tag=line.tag,
                section="4.4.6.1",
                name="INSTREAM-ID",
                words=CAPTIONS.words,
            )
        elif channel.startswith("SERVICE"):
            self._versions.use("SERVICE in INSTREAM-ID", line)

    def _see_data(self, line: Line, values: Values) -> None:
        if ("VALUE" in values) == ("URI" in values):
            self._findings.add("session-data", line.number)
        name, language = values.get("DATA-ID", ""), values.get("LANGUAGE", "")
        if self._is_second("data", name, language):
            self._findings.add("session-data-repeated", line.number, name=name)

    def _see_key(self, line: Line, values: Values) -> None:
        if values.get("METHOD") == "NONE":
            self._findings.add("session-key-none", line.number)
        elif "URI" not in values:
            self._findings.add("key-uri", line.number, method=values.get("METHOD", ""))
        if self._is_second("key", *(values.get(name, "") for name in KEY_IDENTITY)):
            self._findings.add("session-key-repeated", line.number)
        if "IV" in values:
            self._versions.use("IV in EXT-X-SESSION-KEY", line)
        if values.get("METHOD") == "SAMPLE-AES":
            self._versions.use("METHOD=SAMPLE-AES", line)
        if "KEYFORMAT" in values or "KEYFORMATVERSIONS" in values:
            self._versions.use("KEYFORMAT in EXT-X-SESSION-KEY", line)

    def _is_second(self, *identity: str) -> bool:
        self._seen[identity] += 1
        return self._seen[identity] > 1

    def _require(self, line: Line, name: str) -> None:
        self._findings.add(
            "attribute-missing", line.number, tag=line.tag, section="4.4.6.1", name=name
        )

    def _forbid(self, line: Line, name: str, when: str) -> None:
        self._findings.add(
            *("attribute-forbidden", line.number),
            tag=line.tag,
            section="4.4.6.1",
            name=name,
            when=when,
        )


def _says(values: Values, name: str, word: str) -> bool:
    return values.get(name, "").rstrip('"') == word
