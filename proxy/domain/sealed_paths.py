"""The paths of a relayed playlist's children: made here, and read back here.

    /relay/playlist/{seal}.m3u8         a playlist, by its URL
    /relay/bytes/{seal}/{mac}/{name}    a child of a sealed directory, named in a playlist
    /relay/bytes/{seal}/{name}          one of a sealed sequence of names, or a URL sealed whole

Naming each child by a proof of its own takes more room in a long playlist than everything else in
it, since random text does not compress. A playlist that never changes is therefore looked at as a
whole: names that count up, as segments' do, are sealed as one sequence with a first and a last.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from urllib.parse import unquote

from proxy.domain.seal import OpenedSeal, SealKey, SealKeys, Session, build_seal_refusal

PLAYLIST = re.compile(r"/relay/playlist/(?P<seal>[A-Za-z0-9_-]+)\.m3u8", re.ASCII)
BYTES = re.compile(r"/relay/bytes/(?P<seal>[A-Za-z0-9_-]+)/(?P<rest>[A-Za-z0-9._()/-]+)", re.ASCII)

# What may be read in our URLs. Signatures stand in queries and in long parts of paths, such as
# Dailymotion's sec2(…); both are hidden in the seal, and so is everything unusual.
FOLDER = r"(?!\.{1,2}/)[A-Za-z0-9._()-]{1,20}/"
FILE = r"(?!\.{1,2}\Z)[A-Za-z0-9._()-]{1,64}"
NAME = re.compile(rf"(?:{FOLDER}){{0,8}}{FILE}", re.ASCII)
NUMBERS = re.compile(r"([0-9]{1,18})", re.ASCII)

SHORTEST_SEQUENCE = 4
DIGEST_BYTES = 12
AFTER_THE_HOST = 3  # slashes in https://host/


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedPlaylist:
    """A playlist to fetch, for a session; `variables` are those of the playlist above it."""

    url: str
    variables: Mapping[str, str]
    session: Session
    key: SealKey


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedBytes:
    """A segment, a key or anything else that is passed on as it is, for a session."""

    url: str
    session: Session


def open_playlist(raw_path: str, keys: SealKeys) -> SealedPlaylist:
    """Return what the path of a relayed playlist stands for, or refuse with `seal-invalid`."""
    if (path := PLAYLIST.fullmatch(raw_path)) is None:
        raise build_seal_refusal("not the path of a relayed playlist")
    opened = keys.open(path["seal"])
    if opened.kind != "playlist":
        raise build_seal_refusal(f"the seal is not for a playlist (seal kind: {opened.kind})")
    url, variables = opened.content
    return SealedPlaylist(url=url, variables=variables, session=opened.session, key=opened.key)


def open_bytes(raw_path: str, keys: SealKeys) -> SealedBytes:
    """Return what the path of relayed bytes stands for, or refuse with `seal-invalid`."""
    path = BYTES.fullmatch(unquote(raw_path))  # some clients write ( and ) as %28 and %29
    if path is None:
        raise build_seal_refusal("not the path of relayed bytes")
    opened = keys.open(path["seal"])
    return SealedBytes(url=_url_of(opened, path["seal"], path["rest"]), session=opened.session)


def _url_of(opened: OpenedSeal, seal: str, rest: str) -> str:
    if opened.kind == "whole" and rest == file_name(opened.content):
        return str(opened.content)
    if opened.kind == "sequence":
        directory, *names = opened.content
        if is_in_sequence(rest, *names):
            return f"{directory}{rest}"
    if opened.kind == "directory":
        mac, _, name = rest.partition("/")
        if NAME.fullmatch(name) is not None and opened.key.verify_mac(mac, seal, name):
            return f"{opened.content}{name}"
    raise build_seal_refusal(f"no relayed playlist contains this path (seal kind: {opened.kind})")


class Sealer:
    """Makes the paths of one playlist's children."""

    def __init__(self, key: SealKey, session: Session) -> None:
        self._key = key
        self._session = session

    def playlist_path(self, url: str, variables: Mapping[str, str]) -> str:
        """Return the path of a child that is a playlist itself."""
        seal = self._key.seal("playlist", self._session, [url, dict(variables)])
        return f"/relay/playlist/{seal}.m3u8"

    def bytes_paths(self, urls: Iterable[str], *, base: str, is_fixed: bool) -> dict[str, str]:
        """Return the paths of all other children of the playlist at `base`, by their absolute URLs.

        Unless the playlist names the same children for ever (`is_fixed`), a child's path follows
        from the child alone, never from what else is in the window.
        """
        unique = list(dict.fromkeys(urls))
        directory = _shared_directory(unique) if is_fixed else None
        paths: dict[str, str] = {}
        by_directory: dict[str, list[str]] = {}
        for url in unique:
            folder = _directory_of(url, directory or base)
            if folder is None:
                paths[url] = self.file_path(url)
            else:
                by_directory.setdefault(folder, []).append(url.removeprefix(folder))
        for folder, names in by_directory.items():
            sealed = self._sequences(folder, names) if is_fixed else self._children(folder, names)
            paths |= {f"{folder}{name}": path for name, path in sealed}
        return paths

    def file_path(self, url: str) -> str:
        """Return the path of one file by itself."""
        return f"/relay/bytes/{self._key.seal('whole', self._session, url)}/{file_name(url)}"

    def _children(self, directory: str, names: Iterable[str]) -> Iterator[tuple[str, str]]:
        seal = self._key.seal("directory", self._session, directory)
        for name in names:
            yield name, f"/relay/bytes/{seal}/{self._key.compute_mac(seal, name)}/{name}"

    def _sequences(self, directory: str, names: Sequence[str]) -> Iterator[tuple[str, str]]:
        alone: list[str] = []
        for run, sequence in sequences(names):
            if sequence.count < SHORTEST_SEQUENCE:
                alone += run
                continue
            seal = self._key.seal("sequence", self._session, [directory, *sequence.content])
            for name in run:
                yield name, f"/relay/bytes/{seal}/{name}"
        yield from self._children(directory, alone)


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Names in which numbers count: the first one's text and numbers in turn, and the steps."""

    parts: list[str]
    counters: list[list[int]]  # place, start, step and width (0: no leading zeros) of each
    count: int

    @property
    def content(self) -> list[object]:
        """Return what a seal has to say of them. Their text is in every URI; a digest binds it."""
        return [_digest(self.parts, self.counters), self.counters, self.count]

    def name(self, index: int) -> str:
        """Return one of them."""
        parts = list(self.parts)
        for place, start, step, width in self.counters:
            parts[place] = _numeral(start + index * step, width)
        return "".join(parts)


def is_in_sequence(name: str, digest: bytes, counters: list[list[int]], count: int) -> bool:
    """Say whether a name is one of a sealed sequence."""
    parts = NUMBERS.split(name)
    place, start, step, _ = counters[0]
    if place >= len(parts):
        return False
    index = (int(parts[place]) - start) // step
    return (
        0 <= index < count
        and _digest(parts, counters) == digest
        and all(parts[at] == _numeral(a + index * by, wide) for at, a, by, wide in counters)
    )


def sequences(names: Sequence[str]) -> Iterator[tuple[list[str], Names]]:
    """Cut a list of names, each there once, into runs that count."""
    at = 0
    while at < len(names):
        parts = NUMBERS.split(names[at])
        following = NUMBERS.split(names[at + 1]) if at + 1 < len(names) else parts
        found = Names(parts=parts, counters=_counters(parts, following), count=1)
        end = at + 1
        while end < len(names) and found.counters and found.name(end - at) == names[end]:
            end += 1
        yield list(names[at:end]), replace(found, count=end - at)
        at = end


def _counters(first: list[str], second: list[str]) -> list[list[int]]:
    if len(first) != len(second):
        return []
    return [
        [place, int(one), int(two) - int(one), len(one) if "0" in (one[0], two[0]) else 0]
        for place, (one, two) in enumerate(zip(first, second, strict=True))
        if place % 2 and one != two and int(one) != int(two)
    ]


def _numeral(number: int, width: int) -> str:
    return str(number).zfill(width)


def _digest(parts: list[str], counters: list[list[int]]) -> bytes:
    """Return what stands for all of a name but its counters."""
    counting = {place for place, *_ in counters}
    text = "*".join("" if at in counting else part for at, part in enumerate(parts))
    return sha256(text.encode()).digest()[:DIGEST_BYTES]


def file_name(url: str) -> str:
    """Return the last part of a URL's path where it may be read, as the end of its sealed path."""
    last = url.partition("?")[0].rpartition("/")[2]
    return last if re.fullmatch(FILE, last, re.ASCII) is not None else "file"


def _directory_of(url: str, near: str) -> str | None:
    """Return the part of a URL to hide: what it shares with `near`, or its own directory.

    None where the rest may not be read either.
    """
    for directory in (_common(near, url), url[: url.rfind("/") + 1]):
        is_one = directory.count("/") >= AFTER_THE_HOST
        if is_one and NAME.fullmatch(url.removeprefix(directory)) is not None:
            return directory
    return None


def _shared_directory(urls: Sequence[str]) -> str:
    plain = [url for url in urls if "?" not in url]
    return _common(min(plain), max(plain)) if plain else ""


def _common(first: str, second: str) -> str:
    """Return the longest directory of one that the other is in, too."""
    directory = first[: first.rfind("/") + 1]
    while not second.startswith(directory):
        directory = directory[: directory.rfind("/", 0, -1) + 1]
    return directory
