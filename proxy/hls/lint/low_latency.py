"""The rules for Partial Segments and their server (RFC 8216bis, 4.4.3.7 to 4.4.5.4, B.1)."""

import re
from dataclasses import dataclass
from math import nan

from proxy.hls.lexer import Line
from proxy.hls.lint.findings import Findings

Values = dict[str, str]

# Tags of a segment that also apply to its first part, and therefore precede it (4.4.4.9).
OF_THE_FIRST_PART = frozenset(
    {"EXT-X-DISCONTINUITY", "EXT-X-KEY", "EXT-X-MAP", "EXT-X-PROGRAM-DATE-TIME"}
)
SHORTEST_PART = 0.85  # of PART-TARGET
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
TOLERANCE = 1e-6  # seconds: 0.85 of 0.4 is not quite 0.34 to a computer


@dataclass(slots=True)
class Part:
    """A Partial Segment, and whether another part of the same segment follows it."""

    line: Line
    duration: float
    may_be_short: bool
    resource: str | None  # if it is a byte range
    is_followed: bool = False


class LowLatency:
    """Checks the parts of one Media Playlist."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._parts: list[Part] = []
        self._open: list[Part] = []  # of the segment whose URI has not been read yet
        self._segments = 0
        # Of each segment with parts: its number, its last part, the seconds of parts and segment
        self._sums: list[tuple[int, Line, float, float]] = []
        self._hints: dict[str, Line] = {}
        self._is_in_gap = False
        self._part_inf: tuple[Line, float | None] | None = None
        self._control: tuple[Line, Values] | None = None

    def see_tag(self, line: Line, values: Values) -> None:
        """Check a tag of a Media Playlist."""
        match line.tag:
            case "EXT-X-PART":
                self._see_part(line, values)
            case "EXT-X-PART-INF":
                self._part_inf = (line, _number(values.get("PART-TARGET")))
            case "EXT-X-SERVER-CONTROL":
                self._control = (line, values)
            case "EXT-X-PRELOAD-HINT":
                self._see_hint(line, values)
            case "EXT-X-RENDITION-REPORT":
                if SCHEME.match(values.get("URI", "")) is not None:
                    self._findings.add("report-absolute", line.number)
            case "EXT-X-GAP":
                self._is_in_gap = True
            case tag if tag in OF_THE_FIRST_PART and self._open:
                self._findings.add("part-late", line.number, tag=tag)
            case _:
                pass

    def see_segment(self, duration: float | None) -> None:
        """End the segment of the preceding parts. Its duration is None if it is unknown."""
        if self._open and duration is not None:
            seconds = sum(part.duration for part in self._open)
            self._sums.append((self._segments, self._open[-1].line, seconds, duration))
        self._segments += 1
        self._open = []
        self._is_in_gap = False

    @property
    def open_seconds(self) -> float:
        """The duration of the parts after the last segment."""
        return sum(part.duration for part in self._open)

    def finish(self, target: int | None, *, has_ended: bool, is_from_start: bool) -> None:
        """Check the rules that need the whole playlist."""
        part_target = self._part_inf[1] if self._part_inf is not None else None
        if self._parts and self._part_inf is None:
            self._findings.add("part-inf", self._parts[0].line.number)
        if part_target is not None:
            self._check_durations(part_target)
            self._check_sums(part_target, is_from_start=is_from_start)
        self._check_control(target, part_target)
        if has_ended:
            for hint in self._hints.values():
                self._findings.add("hint-ended", hint.number)
        elif self._open and "PART" not in self._hints:
            self._findings.add("hint-missing", self._open[-1].line.number)

    def _see_part(self, line: Line, values: Values) -> None:
        is_gap = values.get("GAP") == "YES"
        duration = _number(values.get("DURATION"))
        is_free = is_gap or values.get("INDEPENDENT") == "YES" or duration is None
        is_range = "BYTERANGE" in values
        resource = values.get("URI") if is_range else None
        before = self._open[-1].resource if self._open else None
        if is_range and "@" not in values["BYTERANGE"] and before != resource:
            self._findings.add("byterange", line.number)
        # All comparisons with NaN are false, so an unknown duration has no further findings.
        part = Part(line, nan if duration is None else duration, is_free, resource)
        if self._open:
            self._open[-1].is_followed = not is_gap
        if self._is_in_gap and not is_gap:
            self._findings.add("gap-part", line.number)
        self._open.append(part)
        self._parts.append(part)

    def _see_hint(self, line: Line, values: Values) -> None:
        kind = values.get("TYPE", "")
        if kind in self._hints:
            self._findings.add("hint-repeated", line.number, type=kind)
        self._hints[kind] = line

    def _check_durations(self, target: float) -> None:
        for part in self._parts:
            shown = {"duration": f"{part.duration:g}", "target": f"{target:g}"}
            if part.duration > target + TOLERANCE:
                self._findings.add("part-long", part.line.number, **shown)
            too_short = part.duration < SHORTEST_PART * target - TOLERANCE
            if too_short and part.is_followed and not part.may_be_short:
                self._findings.add("part-short", part.line.number, **shown)

    def _check_sums(self, target: float, *, is_from_start: bool) -> None:
        for position, (number, line, parts, duration) in enumerate(self._sums):
            # A server removes old parts, perhaps the first ones of a segment.
            may_lack_parts = position == 0 and (number or not is_from_start)
            is_different = abs(parts - duration) > target / 2  # less may be rounding errors
            if is_different and not may_lack_parts:
                shown = {"parts": f"{parts:g}", "duration": f"{duration:g}"}
                self._findings.add("part-sum", line.number, **shown)

    def _check_control(self, target: int | None, part_target: float | None) -> None:
        line, values = self._control or (None, {})
        if self._part_inf is not None and "PART-HOLD-BACK" not in values:
            self._findings.add("part-hold-back", (line or self._part_inf[0]).number)
        if line is None:
            return
        if "CAN-SKIP-DATERANGES" in values and "CAN-SKIP-UNTIL" not in values:
            self._findings.add("skip-dateranges", line.number)
        for name, times, unit in (
            ("CAN-SKIP-UNTIL", 6, target),
            ("HOLD-BACK", 3, target),
            ("PART-HOLD-BACK", 2, part_target),
        ):
            value = _number(values.get(name))
            if value is not None and unit is not None and value < times * unit - TOLERANCE:
                name_of_unit = "PART-TARGET" if unit is part_target else "EXT-X-TARGETDURATION"
                least = f"{times * unit:g} ({times} times {name_of_unit})"
                self._findings.add("hold-back", line.number, name=name, value=value, least=least)


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None
