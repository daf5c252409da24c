"""Compile a written playlist into a template: decide how each child is proven."""

from collections.abc import Generator, Sequence
from typing import NamedTuple, TypedDict

from proxy.domain.seal import digest_child
from proxy.hls.child_names import (
    FILE_NAME,
    MIN_SEQUENCE_LENGTH,
    find_blocks,
    find_sequences,
    is_visible,
)
from proxy.hls.children import MARK, Child
from proxy.hls.document import Document
from proxy.hls.relay_urls import describe_sequence
from proxy.hls.template import BESIDE_PLAYLIST, RUNS_PER_SLICE, SLICE, Folder, Proof, Run, Template

MIN_URL_SLASHES = 3  # in https://host/
MAX_RUN_LENGTH = 1000  # lines


def compile_template(document: Document, *, has_limits: bool) -> Generator[None, None, Template]:
    """Divide a document into runs, in slices.

    A proof covers one name only if the session has limits, and for keys and maps. Otherwise it
    covers the names that count in a VOD, or a block of names. Which block must not depend on other
    segments: each segment of a playlist that changes must keep its URL.
    """
    folders: dict[Folder, int] = {BESIDE_PLAYLIST: 0}
    segments: dict[int, dict[str, Proof | None]] = {}
    divided: list[Visible | Child] = []
    for at in range(0, len(document.children), SLICE):
        for child in document.children[at : at + SLICE]:
            place = _divide(child, folders)
            divided.append(place)
            if isinstance(place, Visible) and place.is_segment:
                segments.setdefault(place.folder, {})[place.name] = None
        yield
    for folder, names in segments.items():
        yield from _prove(folder, names, document, has_limits=has_limits)
    runs = _Runs()
    places = iter(divided)
    for number, block in enumerate(document.blocks, start=1):
        before, *pieces = block.split(MARK)
        runs.add_text(before)
        for piece in pieces:
            place = next(places)
            if isinstance(place, Visible):
                proof = segments[place.folder][place.name] if place.is_segment else None
                target: Proof | Child = proof or Proof(place.folder, digest_child(place.name), "")
                runs.add_child(target, f"{MARK}{place.name}{piece}")
            else:
                runs.add_child(place, f"{MARK}{piece}")
        runs.add_text("\n")
        if len(pieces) > RUNS_PER_SLICE or not number % RUNS_PER_SLICE:
            yield
    return Template(
        kind=document.kind,
        variables=document.variables,
        offers_blocking=document.offers_blocking,
        folders=list(folders),
        **runs.finish(),
    )


class _Runs:
    """Collects the runs of a template."""

    def __init__(self) -> None:
        self._targets: dict[Proof | Child, int] = {}
        self._runs: list[Run] = []
        self._target = -1  # of the run that is being collected; -1 for the lines before the first
        self._lines: list[str] = []
        self._start = b""

    def add_text(self, text: str) -> None:
        """Add text without a child."""
        self._lines.append(text)

    def add_child(self, target: Proof | Child, text: str) -> None:
        """Add a child with the text that follows it."""
        index = self._targets.setdefault(target, len(self._targets))
        if index != self._target or len(self._lines) > MAX_RUN_LENGTH:
            self._flush()
            self._target = index
        self._lines.append(text)

    def finish(self) -> "_Parts":
        """Return the parts of the template."""
        self._flush()
        return {"start": self._start, "runs": self._runs, "targets": list(self._targets)}

    def _flush(self) -> None:
        text = "".join(self._lines).encode()
        if self._target < 0:
            self._start = text
        else:
            self._runs.append(Run(self._target, text))
        self._lines = []


class _Parts(TypedDict):
    start: bytes
    runs: Sequence[Run]
    targets: Sequence[Proof | Child]


class Visible(NamedTuple):
    """A child with a visible name, and the index of its folder."""

    folder: int
    name: str
    is_segment: bool


def _divide(child: Child | str, folders: dict[Folder, int]) -> Visible | Child:
    """Return the folder and the visible name of a child, or the child if nothing may be visible."""
    if isinstance(child, str):
        return Visible(0, child, is_segment=True)
    if child.role not in {"segment", "file"}:
        return child
    path, has_query, query = child.reference.partition("?")
    is_segment = child.role == "segment"
    if not has_query and not child.is_absolute and is_visible(path):
        return Visible(0, path, is_segment)
    cut = path.rfind("/") + 1
    is_in_folder = not child.is_absolute or path.count("/") >= MIN_URL_SLASHES
    if not is_in_folder or FILE_NAME.fullmatch(path[cut:]) is None:
        return child
    folder = Folder(path[:cut], f"?{query}" if has_query else "")
    return Visible(folders.setdefault(folder, len(folders)), path[cut:], is_segment)


def _prove(
    folder: int, names: dict[str, Proof | None], document: Document, *, has_limits: bool
) -> Generator[None, None, None]:
    """Set the proof of each name that shares one with other names."""
    if has_limits:
        return
    listed = list(names)
    if not document.is_vod:
        for at in range(0, len(listed), SLICE):
            part = listed[at : at + SLICE]
            blocks = find_blocks(part)
            proofs = {
                block: Proof(folder, digest_child(block), "") for block in dict.fromkeys(blocks)
            }
            names.update(zip(part, map(proofs.__getitem__, blocks), strict=True))
            yield
        return
    for run, sequence in find_sequences(listed):
        if sequence.length >= MIN_SEQUENCE_LENGTH:
            parameters = sequence.parameters
            digest = digest_child(describe_sequence(parameters, sequence.pattern))
            names.update(dict.fromkeys(run, Proof(folder, digest, f"{parameters}.")))
        yield
