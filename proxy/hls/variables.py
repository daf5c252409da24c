"""Variables of a playlist (RFC 8216bis, 4.3): defined by EXT-X-DEFINE, used as `{$name}`."""

import re
from collections.abc import Mapping
from functools import cached_property
from urllib.parse import parse_qsl

NAME = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
USE = re.compile(rf"\{{\$({NAME.pattern})\}}", re.ASCII)
# Characters that all values of a playlist, or of one filled-in text, may have: variables can be
# used in each other's company any number of times, and go into every child's seal.
MAX_DEFINED = 2048
MAX_FILLED = 4096
# And that one playlist may take from variables in all: as many as it may have of its own. That is a
# signature of 300 in each URI of 7,000 segments.
MAX_INSERTED = 2 * 1024 * 1024
FORMS = ({"NAME", "VALUE"}, {"IMPORT"}, {"QUERYPARAM"})


class Variables:
    """What is defined so far. An unknown value (of an IMPORT, say) is None, and stays as written.

    Args:
        base: the playlist's own URL, for QUERYPARAM.
        imported: what the multivariant playlist defined, for IMPORT.
    """

    def __init__(self, base: str = "", imported: Mapping[str, str] | None = None) -> None:
        self.values: dict[str, str | None] = {}
        self._room = MAX_DEFINED
        self._to_insert = MAX_INSERTED
        self.is_used_up = False  # whether a variable was left as written because of MAX_INSERTED
        self._base = base
        self._imported = imported or {}

    @cached_property
    def _query(self) -> dict[str, str]:
        return query_of(self._base)

    def define(self, attributes: Mapping[str, str]) -> str | None:
        """Define what an EXT-X-DEFINE says; return its name where it cannot, None where it can."""
        if not any(form == attributes.keys() & set().union(*FORMS) for form in FORMS):
            return ""
        value: str | None
        if "NAME" in attributes:
            name, value = attributes["NAME"], attributes["VALUE"]
        elif "IMPORT" in attributes:
            name = attributes["IMPORT"]
            value = self._imported.get(name)
        else:
            name = attributes["QUERYPARAM"]
            value = self._query.get(name)
        if NAME.fullmatch(name) is None:  # nothing can use it
            return ""
        if name in self.values:
            return name
        self._room -= len(value or "")
        self.values[name] = value if self._room >= 0 else None
        return None

    @property
    def unknown(self) -> set[str]:
        """Return the names whose values are not known."""
        return {name for name, value in self.values.items() if value is None}

    def fill(self, text: str) -> str:
        """Return the text with every variable in it replaced by its value, where that is known."""
        if "{$" not in text:
            return text
        filled, left = [], min(MAX_FILLED, self._to_insert)
        at = 0
        for use in USE.finditer(text):
            value = self.values.get(use[1])
            if value is not None and len(value) <= left:  # what is longer is no URI any more
                filled += [text[at : use.start()], value]
                at, left = use.end(), left - len(value)
                self._to_insert -= len(value)
            elif value is not None and len(value) > self._to_insert:
                self.is_used_up = True
        return "".join([*filled, text[at:]])

    def undefined(self, text: str) -> list[str]:
        """Return the names that the text uses and nothing has defined."""
        if "{$" not in text:
            return []
        return [name for name in USE.findall(text) if name not in self.values]


def query_of(url: str) -> dict[str, str]:
    """Return the query parameters of a URL."""
    return dict(parse_qsl(url.partition("#")[0].partition("?")[2], keep_blank_values=True))
