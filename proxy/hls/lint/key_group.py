"""The rules for keys that apply to the same segment (RFC 8216bis, 4.4.4.4)."""

from collections import Counter
from itertools import islice

from proxy.hls.lexer import Line
from proxy.hls.lint.findings import Findings


class KeyGroup:
    """Checks that the keys of a segment have different KEYFORMATs and the same METHOD."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._methods: dict[str, str] = {}  # of the keys in effect, by KEYFORMAT
        # Counted as they change: a playlist may have a new KEYFORMAT for each segment.
        self._counts: Counter[str] = Counter()
        self._new: dict[str, Line] = {}  # the keys since the previous segment, part or map

    def add(self, line: Line, method: str, key_format: str) -> None:
        """Add a key, which replaces the key with the same KEYFORMAT. NONE replaces all keys."""
        if method == "NONE":
            for keys in (self._methods, self._counts, self._new):
                keys.clear()
            return
        if key_format in self._new:
            self._findings.add("key-repeated", line.number, format=key_format)
        self._new[key_format] = line
        if (replaced := self._methods.get(key_format)) is not None:
            self._counts[replaced] -= 1
            if not self._counts[replaced]:
                del self._counts[replaced]
        self._methods[key_format] = method
        self._counts[method] += 1

    def end(self) -> None:
        """Check the keys in effect: a segment, a part or a map follows."""
        if self._new and len(self._counts) > 1:
            line = next(reversed(self._new.values()))
            methods = " and ".join(islice(self._counts, 2))
            self._findings.add("key-methods", line.number, methods=methods)
        self._new.clear()
