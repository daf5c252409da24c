"""The children of a playlist, collected while it is written anew."""

import re
from collections.abc import Callable
from typing import NamedTuple

from proxy.hls.resolve import clean_reference, is_absolute, resolve_uri
from proxy.hls.tags import Role

# Stands for a child's relay URL in the text. No written line contains it.
MARK = "\0"
# Players use a fragment for themselves only. It must look like nothing that a player may read.
FRAGMENT = re.compile(r"[a-z0-9=&._-]{1,64}", re.ASCII)


class Child(NamedTuple):
    """A child of a playlist.

    Attributes:
        reference: its absolute URL, or a reference that is relative to the playlist's URL.
        role: the resource that it is.
        is_absolute: whether `reference` is an absolute URL.
    """

    reference: str
    role: Role
    is_absolute: bool


class Children:
    """Collects the children of a playlist. A plain name stands for a segment beside it."""

    def __init__(self, base: str, allow: Callable[[str], str]) -> None:
        """Collect children of the playlist from `base`; `allow` refuses a URL by its host."""
        self.found: list[Child | str] = []
        self.has_signatures = False  # a query or a whole path may contain a signature
        self._base = base
        self._allow = allow

    def add(self, uri: str, role: Role) -> str:
        """Add a child; return the text that stands for it in the written playlist.

        Raises:
            UnresolvableError: no player can resolve the URI.
            Refusal: `stream-host-not-allowed`.
        """
        reference, _, fragment = clean_reference(uri).partition("#")
        depends_on_url = is_absolute(reference) or reference.startswith("/")
        url = self._allow(resolve_uri(self._base, reference))
        self.has_signatures |= depends_on_url or "?" in reference
        self.found.append(Child(url if depends_on_url else reference, role, depends_on_url))
        return f"{MARK}#{fragment}" if FRAGMENT.fullmatch(fragment) is not None else MARK
