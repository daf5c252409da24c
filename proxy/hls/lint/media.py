"""The rules for Media Playlists that concern several tags (RFC 8216bis, 4.4.3 to 4.4.5)."""

import re

from proxy.hls.lexer import Line
from proxy.hls.lint.dateranges import DateRanges
from proxy.hls.lint.findings import Findings
from proxy.hls.lint.key_group import KeyGroup
from proxy.hls.lint.low_latency import LowLatency
from proxy.hls.lint.versions import Versions
from proxy.hls.value_syntax import SIGNED

Values = dict[str, str]

EXTINF = re.compile(r"\s*([0-9]{1,20}(?:\.[0-9]*)?|\.[0-9]+)\s*(,.*)?", re.ASCII | re.DOTALL)
PLAYLIST_TYPE = "EXT-X-PLAYLIST-TYPE"
TOLERANCE = 0.01  # seconds: the rounding errors of durations
# Keys of these methods have no IV: the segment or its samples contain it (4.4.4.4).
WITHOUT_IV = frozenset({"AES-256-GCM", "SAMPLE-AES-CTR"})


class Media:
    """Checks one Media Playlist."""

    def __init__(self, findings: Findings, versions: Versions) -> None:
        self._findings = findings
        self._versions = versions
        self._parts = LowLatency(findings)
        self._dates = DateRanges(findings)
        self._target: int | None = None
        self._durations: list[tuple[Line, float]] = []
        self._tags: dict[str, Line] = {}
        self._start: tuple[Line, str] | None = None
        self._values: dict[str, str] = {}
        self._segments = 0
        self._has_keys = self._key_without_iv = False  # of AES-128
        self._keys = KeyGroup(findings)
        # Of the segment whose URI has not been read yet
        self._extinf: Line | None = None
        self._duration: float | None = None
        self._byterange: Line | None = None
        # The resource of the previous segment, if it was a byte range
        self._resource: str | None = None

    def see_tag(self, line: Line, values: Values) -> None:
        """Check a tag of a Media Playlist or of any playlist."""
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
            case "EXT-X-MAP" | "EXT-X-PART":
                self._see_map_or_part(line)
            case "EXT-X-I-FRAMES-ONLY" | "EXT-X-SKIP":
                self._use_versions(line, values)
            case "EXT-X-DATERANGE":
                self._dates.see(line, values)
            case "EXT-X-START":
                self._start = self._start or (line, values.get("TIME-OFFSET", ""))
            case _:
                pass
        self._parts.see_tag(line, values)
        self._tags.setdefault(line.tag, line)

    def _see_map_or_part(self, line: Line) -> None:
        self._keys.end()
        if line.tag == "EXT-X-PART":
            return
        self._has_keys = False
        if self._key_without_iv:
            self._findings.add("map-iv", line.number)

    def _use_versions(self, line: Line, values: Values) -> None:
        self._versions.use(line.tag, line)
        if "RECENTLY-REMOVED-DATERANGES" in values:
            self._versions.use("RECENTLY-REMOVED-DATERANGES", line)

    def see_uri(self, line: Line, uri: str) -> None:
        """Check a segment: its URI, and the tags since the previous segment."""
        self._segments += 1
        self._has_keys = False
        self._keys.end()
        if self._extinf is None:
            self._findings.add("extinf", line.number)
        if self._byterange is None:
            self._resource = None
        else:
            if "@" not in self._byterange.value and self._resource != uri:
                self._findings.add("byterange", self._byterange.number)
            self._resource = uri
        self._parts.see_segment(self._duration)
        self._extinf = self._byterange = self._duration = None

    def finish(self) -> None:
        """Check the rules that need the whole playlist."""
        for dangling in (self._extinf, self._byterange):
            if dangling is not None:
                self._findings.add("segment-uri", dangling.number)
        self._check_durations()
        self._check_map()
        self._check_content()
        self._check_start()
        if "EXT-X-I-FRAMES-ONLY" in self._tags and "EXT-X-PART" in self._tags:
            self._findings.add("frames-part", self._tags["EXT-X-PART"].number)
        self._parts.finish(
            self._target,
            has_ended="EXT-X-ENDLIST" in self._tags,
            is_from_start=self._is_from_start,
        )
        self._dates.finish(
            has_clock="EXT-X-PROGRAM-DATE-TIME" in self._tags,
            is_whole="EXT-X-SKIP" not in self._tags,
            is_from_start=self._is_from_start,
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
        self._duration = float(read[1])
        self._durations.append((line, self._duration))

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
        self._keys.add(line, method, values.get("KEYFORMAT", "identity"))
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

    def _check_start(self) -> None:
        """Check that TIME-OFFSET lies within the playlist; a delta update lacks durations."""
        if self._start is None or "EXT-X-SKIP" in self._tags or not self._durations:
            return
        line, text = self._start
        if not SIGNED.fits(text):
            return
        duration = sum(seconds for _, seconds in self._durations) + self._parts.open_seconds
        offset = float(text)
        before_end = -offset if offset < 0 else duration - offset
        if abs(offset) > duration + TOLERANCE:
            fields = {"offset": text, "duration": f"{duration:g}"}
            self._findings.add("start-beyond", line.number, **fields)
        # An offset of 0 begins with the first segment, also if there are only a few yet.
        elif self._may_grow and offset and before_end < 3 * (self._target or 0) - TOLERANCE:
            self._findings.add("start-late", line.number, offset=text)

    @property
    def _may_grow(self) -> bool:
        return "EXT-X-ENDLIST" not in self._tags and self._values.get(PLAYLIST_TYPE) != "VOD"

    @property
    def _is_from_start(self) -> bool:
        """Whether no segment was removed at the beginning."""
        is_first = not self._values.get("EXT-X-MEDIA-SEQUENCE", "").strip("0")
        return "EXT-X-SKIP" not in self._tags and is_first

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
        self._findings.add("segments-yet" if self._may_grow else "segments-none", None)
