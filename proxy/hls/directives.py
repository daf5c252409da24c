"""Delivery directives, which players add to the URLs of playlists and lists (RFC 8216bis)."""

from collections.abc import Mapping, Sequence

from proxy.domain.seal import SealKind

# 6.2.5 for playlists, D.2 for asset lists, 7.1 for steering.
DIRECTIVES: dict[SealKind, frozenset[str]] = {
    "playlist": frozenset({"_HLS_msn", "_HLS_part", "_HLS_skip"}),
    "asset-list": frozenset({"_HLS_primary_id", "_HLS_start_offset"}),
    "steering": frozenset({"_HLS_pathway", "_HLS_throughput"}),
}
BLOCKING = frozenset({"_HLS_msn", "_HLS_part"})
MAX_LENGTH = 100  # characters of a value
CHARACTERS = frozenset("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._-")


def read_directives(query: Sequence[tuple[str, str]], kind: SealKind) -> dict[str, str]:
    """Return the directives of a query that are for this kind of resource.

    Every other parameter is dropped: players add cache busters and CMCD to any URL. The first of
    repeated directives counts.
    """
    directives: dict[str, str] = {}
    for name, value in query:
        is_valid = 0 < len(value) <= MAX_LENGTH and CHARACTERS.issuperset(value)
        if name in DIRECTIVES.get(kind, ()) and is_valid:
            directives.setdefault(name, value)
    return directives


def add_directives(url: str, directives: Mapping[str, str]) -> str:
    """Return a URL with directives added; they come in alphabetical order (6.2.5)."""
    added = "&".join(f"{name}={value}" for name, value in sorted(directives.items()))
    return f"{url}{'&' if '?' in url else '?'}{added}" if added else url
