"""What players add to the URL of a playlist: the delivery directives (RFC 8216bis, 6.2.5)."""

from collections.abc import Mapping, Sequence

from proxy.domain.seal import build_seal_refusal

# These go on to the server …
DIRECTIVES = frozenset({"_HLS_msn", "_HLS_part", "_HLS_skip"})
BLOCKING = frozenset({"_HLS_msn", "_HLS_part"})
# … and what players add to other URIs (D.2, 7.1), which is for servers that know them.
IGNORED = frozenset({"_HLS_primary_id", "_HLS_start_offset", "_HLS_pathway", "_HLS_throughput"})
WORD = frozenset("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def read_directives(query: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return the delivery directives of a query, or refuse any other: it changes what is asked."""
    directives: dict[str, str] = {}
    for name, value in query:
        if name in IGNORED:
            continue
        if name not in DIRECTIVES or name in directives or not value or not WORD.issuperset(value):
            raise build_seal_refusal(
                "the URL has an unknown, repeated or malformed query parameter"
            )
        directives[name] = value
    return directives


def add_directives(url: str, directives: Mapping[str, str]) -> str:
    """Return a URL with directives added; they come in alphabetical order (6.2.5)."""
    added = "&".join(f"{name}={value}" for name, value in sorted(directives.items()))
    return f"{url}{'&' if '?' in url else '?'}{added}" if added else url
