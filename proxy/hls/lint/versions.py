"""The version that a playlist must declare for the features that it uses (RFC 8216bis, 8)."""

from proxy.hls.lexer import Line
from proxy.hls.lint.findings import Findings

# Features, the version that each requires, and the rule for playlists that declare none. Such
# playlists are common, for example at Dailymotion, and every player supports the first features.
FEATURES: dict[str, tuple[int, str]] = {
    "A fraction in EXTINF": (3, "version-missing"),
    "IV in EXT-X-KEY": (2, "version-missing"),
    "KEYFORMAT in EXT-X-KEY": (5, "version-missing"),
    "EXT-X-MAP with EXT-X-I-FRAMES-ONLY": (5, "version-missing"),
    "EXT-X-MAP": (6, "version-missing"),
    "INSTREAM-ID outside CLOSED-CAPTIONS": (13, "version-missing"),
    "METHOD=SAMPLE-AES": (5, "version-missing"),
    "IV in EXT-X-SESSION-KEY": (2, "version-needed"),
    "KEYFORMAT in EXT-X-SESSION-KEY": (5, "version-needed"),
    "EXT-X-BYTERANGE": (4, "version-needed"),
    "EXT-X-I-FRAMES-ONLY": (4, "version-needed"),
    "SERVICE in INSTREAM-ID": (7, "version-needed"),
    "EXT-X-DEFINE": (8, "version-needed"),
    "EXT-X-DEFINE with QUERYPARAM": (11, "version-needed"),
    "EXT-X-SKIP": (9, "version-needed"),
    "RECENTLY-REMOVED-DATERANGES": (10, "version-needed"),
    "A REQ- attribute": (12, "version-needed"),
}


# Packagers declare up to this version, whatever they use; 9 for a server that may send EXT-X-SKIP.
COMMON_VERSION = 9


class Versions:
    """Collects the used features and the declared version."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._used: dict[str, Line] = {}
        self._declared: int | None = None
        self._line = 0  # of the declaration

    def declare(self, line: Line) -> None:
        """Record an EXT-X-VERSION; the rule `tag-value` reports one that is no number."""
        value = line.value.strip()
        if self._declared is None and value.isascii() and value.isdecimal():
            self._declared, self._line = int(value[:9]), line.number

    def use(self, feature: str, line: Line) -> None:
        """Record the first use of a feature."""
        self._used.setdefault(feature, line)

    def finish(self) -> None:
        """Compare the declared version with the used features."""
        needed = max((FEATURES[feature][0] for feature in self._used), default=1)
        if self._declared is not None and self._declared > max(needed, COMMON_VERSION):
            self._findings.add("version-high", self._line, found=self._declared, needed=needed)
        for feature, line in self._used.items():
            needed, rule = FEATURES[feature]
            if self._declared is None:
                self._findings.add(rule, line.number, feature=feature, needed=needed)
            elif self._declared < needed:
                self._findings.add(
                    *("version-low", line.number),
                    feature=feature,
                    needed=needed,
                    found=self._declared,
                )
