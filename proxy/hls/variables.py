"""Variables of a playlist (RFC 8216bis, 4.3): defined by EXT-X-DEFINE, used as `{$name}`."""

import re
from collections.abc import Mapping
from functools import cached_property
from urllib.parse import parse_qsl

NAME = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
USE = re.compile(rf"\{{\$({NAME.pattern})\}}", re.ASCII)
# In characters
MAX_DEFINED = 2048  # of all values of a playlist, which every child's seal contains
MAX_FILLED = 4096  # of the values in one text
MAX_INSERTED = 2 * 1024 * 1024  # of the values in a playlist: 300 in each URI of 7,000 segments
FORMS = ({"NAME", "VALUE"}, {"IMPORT"}, {"QUERYPARAM"})
ANY_FORM = set().union(*FORMS)


class Variables:
    """The variables of a playlist.

    The value of a variable may be unknown, for example that of an IMPORT without its Multivariant
    Playlist. Its value is then None, and references to it stay as written.
    """

    def __init__(self, base: str = "", imported: Mapping[str, str | None] | None = None) -> None:
        """Start without variables.

        Args:
            base: the URL of the playlist, for QUERYPARAM.
            imported: the variables of the Multivariant Playlist, for IMPORT.
        """
        self.values: dict[str, str | None] = {}
        self._room = MAX_DEFINED
        self._to_insert = MAX_INSERTED
        self.is_used_up = False  # whether MAX_INSERTED was exceeded, so a reference was kept
        self._base = base
        self._imported = imported

    @cached_property
    def _query(self) -> dict[str, str]:
        return parse_query(self._base)

    def define(self, attributes: Mapping[str, str]) -> str | None:
        """Define the variable of an EXT-X-DEFINE.

        Returns:
            None if it is defined; its name if it was defined before; "" if the tag is invalid.
        """
        if attributes.keys() & ANY_FORM not in FORMS:
            return ""
        value: str | None
        if "NAME" in attributes:
            name, value = attributes["NAME"], attributes["VALUE"]
        elif "IMPORT" in attributes:
            name = attributes["IMPORT"]
            value = (self._imported or {}).get(name)
        else:
            name = attributes["QUERYPARAM"]
            value = self._query.get(name)
        if NAME.fullmatch(name) is None:
            return ""
        if name in self.values:
            return name
        self._room -= len(value or "")
        self.values[name] = value if self._room >= 0 else None
        return None

    def lacks_import(self, attributes: Mapping[str, str]) -> bool:
        """Return whether an EXT-X-DEFINE imports a variable that does not exist."""
        is_import = attributes.keys() & ANY_FORM == {"IMPORT"}
        return (
            is_import and self._imported is not None and attributes["IMPORT"] not in self._imported
        )

    @property
    def unknown(self) -> set[str]:
        """The names of the variables whose values are unknown."""
        return {name for name, value in self.values.items() if value is None}

    def fill(self, text: str) -> str:
        """Return a text with its variables replaced by their values, unless these are unknown."""
        if "{$" not in text:
            return text
        filled, left = [], min(MAX_FILLED, self._to_insert)
        at = 0
        for use in USE.finditer(text):
            value = self.values.get(use[1])
            if value is not None and len(value) <= left:
                filled += [text[at : use.start()], value]
                at, left = use.end(), left - len(value)
                self._to_insert -= len(value)
            elif value is not None and len(value) > self._to_insert:
                self.is_used_up = True
        return "".join([*filled, text[at:]])

    def undefined(self, text: str) -> list[str]:
        """Return the names of the undefined variables in a text."""
        if "{$" not in text:
            return []
        return [name for name in USE.findall(text) if name not in self.values]


def parse_query(url: str) -> dict[str, str]:
    """Return the query parameters of a URL."""
    return dict(parse_qsl(url.partition("#")[0].partition("?")[2], keep_blank_values=True))
