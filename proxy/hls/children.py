"""The children of a playlist, collected while it is written anew."""

import re
from typing import NamedTuple

from proxy.domain.allowed_hosts import AllowedHosts
from proxy.domain.reasons import Reason, Refusal
from proxy.hls.lexer import MAX_LINE
from proxy.hls.resolve import UnresolvableError, clean_reference, is_absolute, resolve_uri
from proxy.hls.tags import Role

# Stands for a child's relay URL in the text. No written line contains it.
MARK = "\0"
# Players use a fragment for themselves only. It must look like nothing that a player may read.
FRAGMENT = re.compile(r"[a-z0-9=&._-]{1,64}", re.ASCII)

MAX_SEALED = 2000
TOO_MANY_SEALED = f"the playlist has more than {MAX_SEALED} variants, renditions and assets"
MAX_CHILDREN = 150_000  # a week of segments of 4 s; larger playlists take seconds to rewrite
TOO_MANY = f"the playlist has more than {MAX_CHILDREN} segments, parts, keys and maps"


class Child(NamedTuple):
    """A child of a playlist.

    Attributes:
        reference: its absolute URL, or a reference that is relative to the playlist's URL.
        role: the resource that it is.
        is_absolute: whether `reference` is an absolute URL.
        has_host_name: whether its path contains the name of an allowed host, and must be hidden.
    """

    reference: str
    role: Role
    is_absolute: bool
    has_host_name: bool = False


class Children:
    """Collects the children of a playlist."""

    def __init__(self, base: str, hosts: AllowedHosts) -> None:
        """Collect the children of the playlist from `base`."""
        self.found: list[Child] = []
        self.has_signatures = False  # a query or a whole path may contain a signature
        self._base = base
        self._hosts = hosts
        self._count = self._sealed = 0

    def count(self, number: int) -> None:
        """Count further children. Raises Refusal `playlist-invalid` if there are too many."""
        self._count += number
        if self._count > MAX_CHILDREN:
            raise Refusal(Reason.PLAYLIST_INVALID, TOO_MANY)

    def add(self, uri: str, role: Role) -> str:
        """Add a child; return the text that stands for it in the written playlist.

        Raises:
            UnresolvableError: no player can resolve the URI, or it is too long.
            Refusal: `stream-host-not-allowed`; `playlist-invalid` if there are too many children,
                or too many that need a seal of their own.
        """
        self.count(1)
        reference, _, fragment = clean_reference(uri).partition("#")
        if len(reference) > MAX_LINE:
            raise UnresolvableError(reference[:200])
        depends_on_url = is_absolute(reference) or reference.startswith("/")
        url = self._hosts.check(resolve_uri(self._base, reference))
        self.has_signatures |= depends_on_url or "?" in reference
        if role not in {"segment", "file"}:
            self._sealed += 1
            if self._sealed > MAX_SEALED:
                raise Refusal(Reason.PLAYLIST_INVALID, TOO_MANY_SEALED)
        path = url[url.find("/", len("https://")) :] if depends_on_url else reference
        self.found.append(
            Child(
                url if depends_on_url else reference,
                role,
                depends_on_url,
                self._hosts.occur_in(path),
            )
        )
        return f"{MARK}#{fragment}" if FRAGMENT.fullmatch(fragment) is not None else MARK
