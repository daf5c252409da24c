"""What is asked of Media Playlists beyond the shape of each tag (RFC 8216bis, 4.4.3 to 4.4.5)."""

import re

from proxy.hls.lexer import Line
from proxy.hls.lint.dateranges import DateRanges
from proxy.hls.lint.findings import Findings
from proxy.hls.lint.low_latency import LowLatency
from proxy.hls.lint.versions import Versions

Values = dict[str, str]

EXTINF = re.compile(r"\s*([0-9]{1,20}(?:\.[0-9]*)?|\.[0-9]+)\s*(,.*)?", re.ASCII | re.DOTALL)
# These have no IV: the segment carries one, or the format's own does (4.4.4.4).
WITHOUT_IV = frozenset({"AES-256-GCM", "SAMPLE-AES-CTR"})


class Media:
    """The rules of one Media Playlist."""

    def __init__(self, findings: Findings, versions: Versions) -> None:
        self._findings = findings
        self._versions = versions
        self._parts = LowLatency(findings)
        self._dates = DateRanges(findings)
        self._target: int | None = None
        self._durations: list[tuple[Line, float]] = []
        self._tags: dict[str, Line] = {}
        self._values: dict[str, str] = {}
        self._segments = 0
        self._has_keys = self._key_without_iv = False  # of AES-128
        # of the segment whose URI is still to come
        self._extinf: Line | None = None
        self._byterange: Line | None = None
        # the resource that the segment before is a part of
        self._resource: str | None = None

    def see_tag(self, line: Line, values: Values) -> None:
        """Look at a tag that belongs here."""
        self._values.setdefault(line.tag, line.value.strip())
        match line.tag:
            case "EXTINF":
                self._see_extinf(line)
            case "EXT-X-TARGETDURATION":
                self._see_target(line)
            case "EXT-X-BYTERANGE":
                self._byterange = line
                self._versions.use(line.tag, line)
            case "EXT-X-KEY":
                self._see_key(line, values)
            case "EXT-X-MEDIA-SEQUENCE" | "EXT-X-DISCONTINUITY-SEQUENCE":
                self._see_sequence(line)
            case "EXT-X-MAP":
                self._see_map(line)
            case "EXT-X-I-FRAMES-ONLY" | "EXT-X-SKIP":
                self._use_versions(line, values)
            case "EXT-X-DATERANGE":
                self._dates.see(line, values)
            case _:
                pass
        self._parts.see_tag(line, values)
        self._tags.setdefault(line.tag, line)

    def _see_map(self, line: Line) -> None:
        self._has_keys = False
        if self._key_without_iv:
            self._findings.add("map-iv", line.number)

    def _use_versions(self, line: Line, values: Values) -> None:
        self._versions.use(line.tag, line)
        if "RECENTLY-REMOVED-DATERANGES" in values:
            self._versions.use("RECENTLY-REMOVED-DATERANGES", line)

    def see_uri(self, line: Line, uri: str) -> None:
        """Look at a URI line: the segment that all tags since the last one are for."""
        self._segments += 1
        self._has_keys = False
        if self._extinf is None:
            self._findings.add("extinf", line.number)
        if self._byterange is None:
            self._resource = None
        else:
            if "@" not in self._byterange.value and self._resource != uri:
                self._findings.add("byterange", self._byterange.number)
            self._resource = uri
        self._extinf = self._byterange = None
        self._parts.see_segment()

    def finish(self) -> None:
        """Look at the whole."""
        for dangling in (self._extinf, self._byterange):
            if dangling is not None:
                self._findings.add("segment-uri", dangling.number)
        self._check_durations()
        self._check_map()
        self._check_content()
        if "EXT-X-I-FRAMES-ONLY" in self._tags and "EXT-X-PART" in self._tags:
            self._findings.add("frames-part", self._tags["EXT-X-PART"].number)
        self._parts.finish(self._target, has_ended="EXT-X-ENDLIST" in self._tags)
        self._dates.finish(
            has_clock="EXT-X-PROGRAM-DATE-TIME" in self._tags,
            is_whole="EXT-X-SKIP" not in self._tags,
        )

    def _see_extinf(self, line: Line) -> None:
        self._extinf = line
        if (read := EXTINF.fullmatch(line.value)) is None:
            self._findings.add("extinf-value", line.number)
            return
        if read[2] is None:
            self._findings.add("extinf-comma", line.number)
        if "." in read[1]:
            self._versions.use("A fraction in EXTINF", line)
        self._durations.append((line, float(read[1])))

    def _see_target(self, line: Line) -> None:
        value = line.value.strip()
        if self._target is None and value.isascii() and value.isdecimal():
            self._target = int(value[:18])

    def _see_key(self, line: Line, values: Values) -> None:
        method = values.get("METHOD", "NONE")
        if not self._has_keys:  # the first of the keys for the following maps and segments
            self._key_without_iv = False
        self._key_without_iv |= method == "AES-128" and "IV" not in values
        self._has_keys = True
        if method == "SAMPLE-AES":
            self._versions.use("METHOD=SAMPLE-AES", line)
        if method == "NONE" and len(values) > 1:
            self._findings.add("key-none", line.number)
        if method != "NONE" and "URI" not in values:
            self._findings.add("key-uri", line.number, method=method)
        if method in WITHOUT_IV and "IV" in values:
            self._findings.add(
                *("attribute-forbidden", line.number),
                tag=line.tag,
                section="4.4.4.4",
                name="IV",
                when=f"with METHOD={method}",
            )
        if "IV" in values:
            self._versions.use("IV in EXT-X-KEY", line)
        if "KEYFORMAT" in values or "KEYFORMATVERSIONS" in values:
            self._versions.use("KEYFORMAT in EXT-X-KEY", line)

    def _see_sequence(self, line: Line) -> None:
        if self._segments or "EXT-X-PART" in self._tags:
            self._findings.add("sequence-late", line.number, tag=line.tag)
        elif line.tag != "EXT-X-MEDIA-SEQUENCE" and "EXT-X-DISCONTINUITY" in self._tags:
            self._findings.add("discontinuity-late", line.number, tag=line.tag)

    def _check_durations(self) -> None:
        if self._target is None:
            if "EXT-X-TARGETDURATION" not in self._tags:
                self._findings.add("target-duration", None)
            return
        for line, duration in self._durations:
            if int(duration + 0.5) > self._target:
                self._findings.add(
                    "segment-long", line.number, duration=f"{duration:g}", target=self._target
                )

    def _check_map(self) -> None:
        if (line := self._tags.get("EXT-X-MAP")) is not None:
            with_frames = "EXT-X-I-FRAMES-ONLY" in self._tags
            name = "EXT-X-MAP with EXT-X-I-FRAMES-ONLY" if with_frames else "EXT-X-MAP"
            self._versions.use(name, line)

    def _check_content(self) -> None:
        if self._segments or not self._tags.keys().isdisjoint(
            {"EXT-X-PART", "EXT-X-SKIP", "EXT-X-PRELOAD-HINT"}
        ):
            return
        has_ended = (
            "EXT-X-ENDLIST" in self._tags or self._values.get("EXT-X-PLAYLIST-TYPE") == "VOD"
        )
        self._findings.add("segments-none" if has_ended else "segments-yet", None)
