"""The rules for EXT-X-DATERANGE (RFC 8216bis, 4.4.5.1), interstitials (D.2) and preloading (F)."""

from datetime import datetime, timedelta
from itertools import pairwise

from proxy.hls.lexer import Line
from proxy.hls.lint.findings import Findings
from proxy.hls.value_syntax import DECIMAL, SIGNED, SOME, YES_NO, list_of, moment, one_of

Values = dict[str, str]

INTERSTITIAL, PRELOAD = "com.apple.hls.interstitial", "com.apple.hls.preload"  # values of CLASS
INTERSTITIAL_SHAPES = {
    "X-RESUME-OFFSET": SIGNED,
    "X-PLAYOUT-LIMIT": DECIMAL,
    "X-SNAP": list_of("OUT", "IN"),
    "X-RESTRICT": list_of("SKIP", "JUMP"),
    "X-TIMELINE-OCCUPIES": one_of("POINT", "RANGE"),
    "X-TIMELINE-STYLE": one_of("PRIMARY", "HIGHLIGHT"),
    "X-CONTENT-MAY-VARY": YES_NO,
    "X-SKIP-CONTROL-OFFSET": DECIMAL,
    "X-SKIP-CONTROL-DURATION": DECIMAL,
    "X-SKIP-CONTROL-LABEL-ID": SOME,
}
TOLERANCE = timedelta(milliseconds=1)
LONGEST = 10**9  # seconds; a timedelta can hold it, and no range is longer


class DateRanges:
    """Checks the date ranges of one Media Playlist. All tags with one ID describe one range."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._ranges: dict[str, Values] = {}
        self._lines: dict[str, Line] = {}
        self._quoted: dict[tuple[str, str], bool] = {}  # by ID and attribute
        self._first: Line | None = None

    def see(self, line: Line, values: Values) -> None:
        """Check a tag, and add its attributes to its range."""
        self._first = self._first or line
        if "ID" not in values:  # the rule `attribute-missing` reports that
            return
        known = self._ranges.setdefault(values["ID"], {})
        self._lines.setdefault(values["ID"], line)
        for attribute in line.attributes:
            self._quoted.setdefault((values["ID"], attribute.name), attribute.is_quoted)
        for name, value in values.items():
            if known.setdefault(name, value) != value:
                self._findings.add("daterange-changed", line.number, name=name)
        if "START-DATE" not in known:
            self._findings.add("daterange-start", line.number)
        if "END-ON-NEXT" in known and (
            "CLASS" not in known or "DURATION" in known or "END-DATE" in known
        ):
            self._findings.add("daterange-next", line.number)
        if {"PRE", "POST"} <= set(known.get("CUE", "").split(",")):
            self._findings.add("daterange-cue", line.number)
        self._check_end(line, known)

    def finish(self, *, has_clock: bool, is_whole: bool, is_from_start: bool) -> None:
        """Check the rules that need the whole playlist, which a delta update is not."""
        if self._first is not None and not has_clock and is_whole:
            self._findings.add("daterange-clock", self._first.number)
        for known in self._ranges.values():
            if "SCTE35-IN" in known and "SCTE35-OUT" not in known and is_from_start:
                self._findings.add("daterange-scte35", self._lines[known["ID"]].number)
            if known.get("CLASS") == INTERSTITIAL:
                self._check_interstitial(self._lines[known["ID"]], known, is_whole=is_whole)
            elif known.get("CLASS") == PRELOAD:
                self._check_preload(self._lines[known["ID"]], known, is_whole=is_whole)
        self._check_overlaps()

    def _check_interstitial(self, line: Line, known: Values, *, is_whole: bool) -> None:
        """Check the attributes of all tags of an interstitial."""
        if is_whole and ("X-ASSET-URI" in known) == ("X-ASSET-LIST" in known):
            self._findings.add("interstitial-asset", line.number)
        for name, shape in INTERSTITIAL_SHAPES.items():
            if name not in known:
                continue
            if not shape.fits(known[name]):
                self._findings.add(
                    *("attribute-value", line.number),
                    tag=line.tag,
                    section="D.2",
                    name=name,
                    words=shape.words,
                )
            # A client's attribute is a number, or a quoted string.
            elif self._quoted[known["ID"], name] is (shape in {SIGNED, DECIMAL}):
                self._findings.add("attribute-syntax", line.number, tag=line.tag, name=name)

    def _check_preload(self, line: Line, known: Values, *, is_whole: bool) -> None:
        if "CUE" in known:
            self._findings.add("preload-cue", line.number)
        if not is_whole:
            return
        for name in ("X-URI", "X-TARGET-ID", "X-TARGET-CLASS"):
            if name not in known:
                self._findings.add("preload-attribute", line.number, name=name)
        if "DURATION" not in known and "END-DATE" not in known:
            self._findings.add("preload-attribute", line.number, name="DURATION or END-DATE")

    def _check_overlaps(self) -> None:
        """Check that ranges of a class do not overlap if one of them has END-ON-NEXT."""
        classes = {it.get("CLASS") for it in self._ranges.values() if "END-ON-NEXT" in it}
        spans = sorted(
            (known["CLASS"], begin, _end(known, begin), self._lines[name].number)
            for name, known in self._ranges.items()
            if known.get("CLASS") in classes - {None}
            and (begin := moment(known.get("START-DATE", ""))) is not None
        )
        for (one, _, end, _), (other, begin, _, line) in pairwise(spans):
            if one == other and begin < end:
                self._findings.add("daterange-overlap", line, name=other)

    def _check_end(self, line: Line, known: Values) -> None:
        start, end = moment(known.get("START-DATE", "")), moment(known.get("END-DATE", ""))
        if start is None or end is None:
            return
        if end < start:
            self._findings.add("daterange-end", line.number)
        duration = _seconds(known.get("DURATION"))
        if duration is not None and abs(end - start - duration) > TOLERANCE:
            self._findings.add("daterange-length", line.number)


def _end(known: Values, begin: datetime) -> datetime:
    """Return the end of a range, or its beginning if neither END-DATE nor DURATION is set."""
    length = _seconds(known.get("DURATION")) or timedelta()
    try:
        return moment(known.get("END-DATE", "")) or begin + length
    except OverflowError:  # beyond the year 9999
        return begin


def _seconds(text: str | None) -> timedelta | None:
    try:
        seconds = float(text or "")
    except ValueError:
        return None
    return timedelta(seconds=seconds) if 0 <= seconds <= LONGEST else None
