"""A playlist as the relay hands it on: every child behind a path of ours, all else as it came."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from proxy.domain.reasons import Reason, Refusal
from proxy.domain.sealed_paths import Sealer
from proxy.hls.lexer import Line, first_values, is_too_long
from proxy.hls.lint.media import EXTINF
from proxy.hls.resolve import resolve_uri
from proxy.hls.rewrite import Reference, references, rewrite
from proxy.hls.tags import URI_ATTRIBUTES, Role
from proxy.hls.text import CONTROL, NOT_UTF_8
from proxy.hls.variables import Variables, query_of

FACT = re.compile(
    r"^#EXT-X-(?:(?P<end>ENDLIST)|PLAYLIST-TYPE:(?P<type>\w+)|MEDIA-SEQUENCE:(?P<first>\d+))",
    re.MULTILINE | re.ASCII,
)

# Characters that all sealed paths of a playlist may take, about: each its URL's and a seal's.
MAX_OUTPUT_BYTES, SEAL_BYTES = 16 * 1024 * 1024, 400
TOO_LONG = "the sealed URIs would exceed 16 MiB"
MARK = "\0"  # stands where a child stood until all are known; no line that passes has one


def may_change(text: str) -> bool:
    """Say whether a Media Playlist may still change, or has until now, going by what it says.

    One that has ended and begins at its beginning may have grown, too; that only who saw it knows.
    """
    facts: dict[str, str] = {}
    for fact in FACT.finditer(text):
        facts |= {name: value for name, value in fact.groupdict().items() if value is not None}
    if facts.get("type") == "VOD":
        return False
    has_grown = facts.get("type") == "EVENT" or int(facts.get("first", "0")[:18]) > 0
    return "end" not in facts or has_grown


class Child(NamedTuple):
    """A child of a playlist: what it is, its absolute URL, and its fragment with the `#`."""

    role: Role
    url: str
    fragment: str


def seal_uris(
    text: str,
    *,
    base: str,
    sealer: Sealer,
    imported: Mapping[str, str],
    allow: Callable[[str], str],
    is_fixed: bool,
) -> str:
    """Return the playlist with every URI sealed.

    Args:
        text: the playlist from `base`.
        base: its URL after redirects.
        sealer: makes the paths.
        imported: variables of the Multivariant Playlist above it.
        allow: refuses a URL that must not be asked.
        is_fixed: whether the playlist will never name another child.
    """
    variables = Variables(base, imported)
    children: list[Child] = []
    room = MAX_OUTPUT_BYTES

    def note(reference: Reference) -> str:
        nonlocal room
        uri = variables.fill(reference.uri)
        if variables.is_used_up:
            raise Refusal(Reason.PLAYLIST_INVALID, "the variables would insert more than 2 MiB")
        _, hash_sign, fragment = uri.partition("#")
        url = resolve_uri(base, uri)
        room -= len(url) + SEAL_BYTES
        if room < 0:
            raise Refusal(Reason.PLAYLIST_INVALID, TOO_LONG)
        allow(url)
        children.append(Child(reference.role, url, hash_sign + fragment))
        return MARK

    pieces = rewrite(_agreed(references(text), variables, base), note).split(MARK)
    known = {
        name: value
        for name, value in variables.values.items()
        if value is not None and NOT_UTF_8.search(value) is None
    }
    paths = sealer.bytes_paths(
        (child.url for child in children if child.role == "bytes"),
        base=base,
        is_fixed=is_fixed,
    )
    handed_on, left = [pieces[0]], MAX_OUTPUT_BYTES
    for child, piece in zip(children, pieces[1:], strict=True):
        is_file = child.role == "bytes"
        path = paths[child.url] if is_file else sealer.playlist_path(child.url, known)
        left -= len(path)  # the variables are in each path of a playlist
        if left < 0:
            raise Refusal(Reason.PLAYLIST_INVALID, TOO_LONG)
        handed_on += path, child.fragment, piece
    return "".join(handed_on)


def _agreed(
    lines: Iterable[tuple[Line, list[Reference]]], variables: Variables, base: str
) -> Iterator[tuple[Line, list[Reference]]]:
    """Yield the lines that players agree about; define the variables on the way.

    Variables that the playlist takes from its URL, the upstream's signature perhaps, are in the
    sealed URIs already, and are nobody else's business. Their names stay defined: players refuse a
    playlist that uses an undefined one.
    """
    query = query_of(base)
    for line, found in lines:
        _check_agreement(line)
        if line.tag == "EXT-X-DEFINE":
            given = first_values(line)
            variables.define(given)
            if (name := given.get("QUERYPARAM")) in query:
                yield line._replace(text=f'#EXT-X-DEFINE:NAME="{name}",VALUE="-"'), []
                continue
        yield line, found


def _check_agreement(line: Line) -> None:
    """Refuse a line that players read in different ways.

    Some would see a URI in it that we do not, and go there past the relay.
    """
    is_odd = (
        CONTROL.search(line.text) is not None
        or is_too_long(line.text)
        or (not line.tag and line.text.startswith("#") and "#EXT" in line.text)
        or (line.tag == "EXTINF" and EXTINF.fullmatch(line.value) is None)
        or (line.tag in URI_ATTRIBUTES and not all(it.is_clean for it in line.attributes))
    )
    if is_odd:
        raise Refusal(
            Reason.PLAYLIST_INVALID,
            f"players may read line {line.number} in different ways",
        )
