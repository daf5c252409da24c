"""Compile a written playlist into a template: decide how each child is proven."""

import re
from collections.abc import Generator, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from proxy.domain.seal import digest_child
from proxy.hls.child_names import (
    MIN_SEQUENCE_LENGTH,
    divide_into_blocks,
    find_sequences,
    is_visible,
)
from proxy.hls.children import MARK, Child
from proxy.hls.document import Document, SegmentRun
from proxy.hls.relay_urls import describe_sequence
from proxy.hls.resolve import get_folder
from proxy.hls.template import (
    BESIDE_PLAYLIST,
    RUNS_PER_SLICE,
    Folder,
    Proof,
    Template,
    free,
)
from proxy.hls.template_runs import OBJECT_BYTES, TemplateRuns

MIN_URL_SLASHES = 3  # in https://host/
LEADING_DOTS = re.compile(r"\A(?:\.{1,2}/)*")
LONG_PART = re.compile(r"(?<![^/])[^/]{21,}/")  # longer than a visible folder


def compile_template(
    document: Document, base: str, *, has_limits: bool, was_changing: bool = False
) -> Generator[None, None, Template]:
    """Divide a document into runs, in slices.

    In a VOD, a proof covers the names that count. Otherwise it covers a block of names, or one name
    if the session has limits, and for keys and maps. Which block must not depend on other segments:
    each segment of a playlist that changes must keep its URL, even if the playlist ends as a VOD
    (`was_changing`). The document is empty afterwards.
    """
    children = _Children(get_folder(base))
    yield from children.divide(document)
    use_sequences = document.is_vod and not was_changing
    if use_sequences or not has_limits:
        yield from children.prove(use_sequences=use_sequences)
    runs = TemplateRuns()
    targets = children.find_targets()
    for number, block in enumerate(document.blocks, start=1):
        if isinstance(block, SegmentRun):
            runs.add_segments(children.find_proofs(block), block.text)
            yield
        elif MARK in block:
            before, *pieces = block.split(MARK)
            runs.add_text(before)
            for piece in pieces:
                target, name = next(targets)
                runs.add_child(target, f"{MARK}{name}{piece}")
            runs.add_text("\n")
        else:
            runs.add_text(f"{block}\n")
        if not number % RUNS_PER_SLICE:
            yield
    runs.flush()
    yield from free(children.divided, document.children, document.blocks)
    return Template(
        kind=document.kind,
        variables=document.variables,
        offers_blocking=document.offers_blocking,
        may_change=document.kind == "media" and not document.is_vod,
        is_reusable=not document.depends_on_url,
        runs=runs.runs,
        targets=list(runs.targets),
        folders=list(children.folders),
        proofs=runs.proofs,
        size=runs.size + OBJECT_BYTES * (len(runs.targets) + len(children.folders)),
    )


class Visible(NamedTuple):
    """A child with a visible name, and the index of its folder."""

    folder: int
    name: str
    is_segment: bool


class _Children:
    """Divides children into folders and names, and finds their proofs."""

    def __init__(self, base: str) -> None:
        self._base = base  # the playlist's folder
        self.folders: dict[Folder, int] = {BESIDE_PLAYLIST: 0}
        self.divided: list[Visible | Child] = []
        # Of the segments in each folder, by name; None if a name has a proof of its own.
        self._proofs: dict[int, dict[str, Proof | None]] = {}

    def divide(self, document: Document) -> Generator[None, None, None]:
        """Divide all children."""
        names = self._proofs.setdefault(0, {})
        children = iter(document.children)
        for number, block in enumerate(document.blocks, start=1):
            if isinstance(block, SegmentRun):
                names.update(dict.fromkeys(block.names))
                yield
                continue
            for child in islice(children, block.count(MARK) if MARK in block else 0):
                place = self._divide(child)
                self.divided.append(place)
                if isinstance(place, Visible) and place.is_segment:
                    self._proofs.setdefault(place.folder, {})[place.name] = None
            if not number % RUNS_PER_SLICE:
                yield

    def prove(self, *, use_sequences: bool) -> Generator[None, None, None]:
        """Find the proofs that several names share."""
        for folder, names in self._proofs.items():
            prove = _prove_sequences if use_sequences else _prove_blocks
            yield from prove(folder, list(names), names)
            yield

    def find_targets(self) -> Iterator[tuple[Proof | Child, str]]:
        """Return the target and the visible name of each child, one after the other."""
        return map(self._find_target, self.divided)

    def find_proofs(self, run: SegmentRun) -> list[Proof]:
        """Return the proof of each segment of a run."""
        proofs = self._proofs[0]
        return [proofs[name] or Proof(0, digest_child(name), "") for name in run.names]

    def _find_target(self, place: Visible | Child) -> tuple[Proof | Child, str]:
        if not isinstance(place, Visible):
            return place, ""
        proof = self._proofs[place.folder][place.name] if place.is_segment else None
        return proof or Proof(place.folder, digest_child(place.name), ""), place.name

    def _divide(self, child: Child) -> Visible | Child:
        """Return a child's folder and visible name, or the child if nothing may be visible."""
        if child.role not in {"segment", "file"} or child.has_host_name:
            return child
        path, has_query, query = child.reference.partition("?")
        reference = self._hide(path, is_absolute=child.is_absolute)
        name = path[len(reference) :]
        if not is_visible(name):
            return child
        if reference == self._base:
            reference = ""
        folder = Folder(reference, f"?{query}" if has_query else "")
        index = self.folders.setdefault(folder, len(self.folders))
        return Visible(index, name, child.role == "segment")

    def _hide(self, path: str, *, is_absolute: bool) -> str:
        """Return the folder that a child must hide, so that the rest of its path may be visible.

        Hides no more than necessary: in Dailymotion's playlists, each segment has a folder.
        """
        if is_absolute:
            shared = _find_shared_folder(self._base, path)
            if shared.count("/") >= MIN_URL_SLASHES and is_visible(path[len(shared) :]):
                return shared
        else:
            name = LEADING_DOTS.sub("", path)
            if is_visible(name):
                return path.removesuffix(name)
        long_parts = list(LONG_PART.finditer(path))
        if long_parts and is_visible(path[long_parts[-1].end() :]):
            return path[: long_parts[-1].end()]
        return path[: path.rfind("/") + 1]


def _find_shared_folder(base: str, url: str) -> str:
    while not url.startswith(base):
        base = base[: base.rfind("/", 0, -1) + 1]
    return base


def _prove_blocks(
    folder: int, names: Sequence[str], proofs: dict[str, Proof | None]
) -> Generator[None, None, None]:
    shared: dict[str, Proof] = {}
    for number, (run, block) in enumerate(divide_into_blocks(names), start=1):
        if (proof := shared.get(block)) is None:
            proof = shared[block] = Proof(folder, digest_child(block), "")
        proofs.update(dict.fromkeys(run, proof))
        if not number % RUNS_PER_SLICE:
            yield


def _prove_sequences(
    folder: int, names: Sequence[str], proofs: dict[str, Proof | None]
) -> Generator[None, None, None]:
    for run, sequence in find_sequences(names):
        if sequence.length >= MIN_SEQUENCE_LENGTH:
            parameters = sequence.parameters
            digest = digest_child(describe_sequence(parameters, sequence.pattern))
            proofs.update(dict.fromkeys(run, Proof(folder, digest, f"{parameters}.")))
        yield
