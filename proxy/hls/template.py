"""Templates of relayed playlists: written once, and rendered for each session.

A template contains nothing of a session. Rendering fills in the session's seals and proofs.
"""

from collections.abc import Generator, Mapping
from typing import Any, NamedTuple

from proxy.domain.reasons import Reason, Refusal
from proxy.domain.seal import SealKey, Session
from proxy.hls.children import MARK, Child
from proxy.hls.document import PlaylistKind
from proxy.hls.relay_urls import get_file_name, hide_file_name, seal_playlist
from proxy.hls.resolve import get_folder, resolve_uri

MARK_BYTES = MARK.encode()
SAMPLE_NAME = "x"
SLICE = 500  # children
MAX_OUTPUT_BYTES = 32 * 1024 * 1024
TOO_LARGE = "the relayed playlist would exceed 32 MiB"
RUNS_PER_SLICE = 50
CHUNK_BYTES = 128 * 1024


class Folder(NamedTuple):
    """A folder of files: relative to the playlist or absolute, and the query of all its files."""

    reference: str
    query: str


class Proof(NamedTuple):
    """What is before a visible name in a relay URL: the digest for its MAC, and parameters."""

    folder: int
    digest: bytes
    parameters: str  # of a sequence, with a dot behind; else empty


class Run(NamedTuple):
    """Lines with marks that all stand for the same proof or hidden child, or without marks."""

    target: int  # index in `Template.targets`, or NO_TARGET
    text: bytes


BESIDE_PLAYLIST = Folder("", "")
NO_TARGET = -1


class Place(NamedTuple):
    """Where a playlist is served, and for whom.

    Attributes:
        key: seals its children.
        session: the session.
        seal: the seal in the playlist's relay URL.
        sealed_url: the URL in that seal.
        url: the URL after redirects.
        variables: for the playlists below it.
        is_at_relay_url: whether it is served at its relay URL, so that it can name its files
            relative to that; the first playlist of a session is served at /play.
        origin: of this service as the viewer sees it, such as `https://play.example.com`. It may be
            without the scheme, or empty if it is not known.
    """

    key: SealKey
    session: Session
    seal: str
    sealed_url: str
    url: str
    variables: Mapping[str, str]
    is_at_relay_url: bool
    origin: str = ""


class Template(NamedTuple):
    """A written playlist, divided into runs.

    Attributes:
        kind: the kind of the playlist.
        variables: the variables that it defines, for its own children.
        offers_blocking: whether it announces blocking reloads.
        may_change: whether it is a Media Playlist and no VOD.
        is_reusable: whether the template depends on the received bytes only.
        runs: the runs.
        targets: what the marks of each run stand for.
        folders: the folders of the files with visible names.
        proofs: the proofs in each folder, by the folder's index.
        size: the size in memory, in bytes, approximately.
    """

    kind: PlaylistKind
    variables: Mapping[str, str]
    offers_blocking: bool
    may_change: bool
    is_reusable: bool
    runs: list[Run]
    targets: list[Proof | Child]
    folders: list[Folder]
    proofs: Mapping[int, list[Proof]]
    size: int

    def free(self) -> Generator[None, None, None]:
        """Free a template that nobody needs any more, in slices."""
        yield from free(self.runs, self.targets, self.folders, *self.proofs.values())

    def render(self, place: Place) -> Generator[None, None, list[bytes]]:
        """Return the playlist for a session in chunks; compute it in slices.

        Raises:
            Refusal: `playlist-invalid` if a URL is too long to be sealed, or the playlist becomes
                larger than `MAX_OUTPUT_BYTES`.
        """
        prefix = "" if place.is_at_relay_url else f"/relay/{place.seal}/"
        texts: dict[Proof | Child | None, bytes] = {}
        for folder, proven in self.proofs.items():
            location = _locate(self.folders[folder], place)
            for at in range(0, len(proven), SLICE):
                part = proven[at : at + SLICE]
                macs = place.key.compute_macs(
                    f"{place.seal}/{location}", [proof.digest for proof in part]
                )
                for proof, mac in zip(part, macs, strict=True):
                    texts[proof] = f"{prefix}{location}{proof.parameters}{mac}/".encode()
                yield
        chunks: list[bytes] = []
        lines: list[bytes] = []
        size, chunk_end = 0, CHUNK_BYTES
        for number, run in enumerate(self.runs, start=1):
            target = None if run.target == NO_TARGET else self.targets[run.target]
            if (text := texts.get(target, b"")) == b"" and isinstance(target, Child):
                text = texts[target] = _render_hidden(target, place, prefix).encode()
            size += len(run.text) + run.text.count(MARK_BYTES) * len(text)
            if size > MAX_OUTPUT_BYTES:
                raise Refusal(Reason.PLAYLIST_INVALID, TOO_LARGE)
            lines.append(run.text.replace(MARK_BYTES, text))
            if size > chunk_end:
                chunks.append(b"".join(lines))
                lines, chunk_end = [], size + CHUNK_BYTES
                yield
            elif not number % RUNS_PER_SLICE:
                yield
        return [*chunks, b"".join(lines)]


def free(*lists: list[Any]) -> Generator[None, None, None]:
    """Empty lists in slices: freeing 100,000 objects at once takes 10 ms."""
    for objects in lists:
        while objects:
            del objects[-SLICE:]
            yield


def _locate(folder: Folder, place: Place) -> str:
    """Return the part of a relay URL that stands for a folder."""
    if folder == BESIDE_PLAYLIST and (
        place.url == place.sealed_url or get_folder(place.url) == get_folder(place.sealed_url)
    ):
        return ""
    path, has_query, query = resolve_uri(
        place.url, f"{folder.reference}{SAMPLE_NAME}{folder.query}"
    ).partition("?")
    hidden = place.key.hide(place.seal, [path.removesuffix(SAMPLE_NAME), f"{has_query}{query}"])
    return f"~{hidden}/"


def _render_hidden(child: Child, place: Place, prefix: str) -> str:
    """Return the relay URL of a child of which nothing may be visible."""
    url = resolve_uri(place.url, child.reference)
    match child.role:
        case "playlist" | "asset-list" | "steering" as kind:
            return seal_playlist(place.key, place.session, url, place.variables, kind)
        case "asset":
            # hls.js resolves X-ASSET-URI against the page, so a path is not enough.
            path = seal_playlist(place.key, place.session, url, {}, "playlist")
            return f"{place.origin}{path}"
        case _:
            pass
    is_relative = not child.is_absolute and place.url == place.sealed_url
    hidden = place.key.hide(place.seal, child.reference if is_relative else url)
    name = hide_file_name(url) if child.has_host_name else get_file_name(url)
    return f"{prefix}~{hidden}/{name}"
