"""The rules for keys that apply to the same segment (RFC 8216bis, 4.4.4.4)."""

from proxy.hls.lexer import Line
from proxy.hls.lint.findings import Findings


class KeyGroup:
    """Checks the keys that are in effect at each segment: one of each KEYFORMAT."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._methods: dict[str, str] = {}  # of the keys in effect, by KEYFORMAT
        self._new: dict[str, Line] = {}  # the keys since the previous segment or map

    def add(self, line: Line, method: str, key_format: str) -> None:
        """Add a key, which replaces that of the same KEYFORMAT."""
        if key_format in self._new:
            self._findings.add("key-repeated", line.number, format=key_format)
        self._new[key_format] = line
        if method == "NONE":
            self._methods.clear()
        else:
            self._methods[key_format] = method

    def end(self) -> None:
        """Check the keys in effect: a segment or a map follows."""
        methods = sorted(set(self._methods.values()))
        if self._new and len(methods) > 1:
            line = list(self._new.values())[-1]
            self._findings.add("key-methods", line.number, methods=", ".join(methods))
        self._new.clear()
