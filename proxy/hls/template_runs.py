"""Collect the runs of a template while a playlist is compiled."""

from collections.abc import Sequence
from itertools import groupby

from proxy.hls.children import MARK, Child
from proxy.hls.template import Proof, Run

MAX_RUN_LENGTH = 64 * 1024  # characters
MAX_MARKS = 200  # in a run, unless one block has more; up to 6 kB are filled in for each
OBJECT_BYTES = 200  # of a run, a target or a folder in memory


class TemplateRuns:
    """Collects the runs of a template, with their targets and size."""

    def __init__(self) -> None:
        self.start = b""
        self.runs: list[Run] = []
        self.targets: dict[Proof | Child, int] = {}
        self.proofs: dict[int, list[Proof]] = {}  # by folder
        self.size = 0  # in memory, in bytes
        self._target = -1  # of the run that is being collected; -1 for the lines before the first
        self._lines: list[str] = []
        self._length = self._marks = 0

    def add_text(self, text: str) -> None:
        """Add text without a child."""
        self._lines.append(text)
        self._length += len(text)

    def add_child(self, target: Proof | Child, text: str) -> None:
        """Add a child with the text that follows it."""
        index = self.targets.get(target)
        if index is None:
            index = self.targets[target] = len(self.targets)
            if isinstance(target, Proof):
                self.proofs.setdefault(target.folder, []).append(target)
        is_full = self._length > MAX_RUN_LENGTH or self._marks > MAX_MARKS
        if index != self._target or is_full:
            self.flush()
            self._target = index
        self.add_text(text)
        self._marks += text.count(MARK)

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
        if self._target < 0:
            self.start = text
        else:
            self.runs.append(Run(self._target, text))
        self._lines, self._length, self._marks = [], 0, 0
        self.size += len(text) + OBJECT_BYTES
