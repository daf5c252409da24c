"""Collect the runs of a template while a playlist is compiled."""

from collections.abc import Sequence
from itertools import groupby

from proxy.hls.children import MARK, Child
from proxy.hls.template import NO_TARGET, Proof, Run

MAX_RUN_LENGTH = 64 * 1024  # characters
MAX_MARKS = 200  # in a run, unless one block has more; up to 6 kB are filled in for each
OBJECT_BYTES = 200  # of a run, a target or a folder in memory


class TemplateRuns:
    """Collects the runs of a template, with their targets and size."""

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self.targets: dict[Proof | Child, int] = {}
        self.proofs: dict[int, list[Proof]] = {}  # by folder
        self.size = 0  # in memory, in bytes
        self._target = NO_TARGET  # of the run that is being collected
        self._lines: list[str] = []
        self._length = self._marks = 0

    def add_text(self, text: str) -> None:
        """Add text without a child."""
        self._lines.append(text)
        self._length += len(text)
        if self._length > MAX_RUN_LENGTH:
            self.flush()

    def add_child(self, target: Proof | Child, text: str) -> None:
        """Add a child with the text that follows it."""
        index = self.targets.get(target)
        if index is None:
            index = self.targets[target] = len(self.targets)
            if isinstance(target, Proof):
                self.proofs.setdefault(target.folder, []).append(target)
        if index != self._target or self._marks > MAX_MARKS:
            self.flush()
            self._target = index
        self._marks += text.count(MARK)
        self.add_text(text)

    def add_segments(self, proofs: Sequence[Proof], text: str) -> None:
        """Add a run of segments with the proof of each."""
        if proofs.count(proofs[0]) == len(proofs):  # nearly always
            groups = [(proofs[0], len(proofs))]
        else:
            groups = [(proof, len(list(same))) for proof, same in groupby(proofs)]
        before, *pieces = text.split(MARK, maxsplit=1 if len(groups) == 1 else -1)
        self.add_text(before)
        at = 0
        for proof, count in groups:
            self.add_child(proof, MARK + MARK.join(pieces[at : at + count]))
            at += count
        self.add_text("\n")

    def flush(self) -> None:
        """End the run that is being collected."""
        text = "".join(self._lines).encode()
        if text:
            self.runs.append(Run(self._target, text))
            self.size += len(text) + OBJECT_BYTES
        self._target, self._lines, self._length, self._marks = NO_TARGET, [], 0, 0
