"""The result of checking a playlist."""

from dataclasses import dataclass

from proxy.hls.document import PlaylistKind
from proxy.hls.lint.findings import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The kind of a playlist, its findings, and the names of its tags.

    `text` is the playlist without a BOM.
    """

    kind: PlaylistKind | None
    findings: tuple[Finding, ...]
    text: str
    tags: frozenset[str] = frozenset()

    @property
    def is_playlist(self) -> bool:
        """Whether the first line is #EXTM3U."""
        return not any(finding.rule == "extm3u" for finding in self.findings)

    @property
    def is_checked(self) -> bool:
        """Whether it was small enough to be checked."""
        return not any(finding.rule in {"size", "excess"} for finding in self.findings)

    @property
    def is_valid(self) -> bool:
        """Whether it violates no rule of the specification."""
        return all(finding.severity == "warning" for finding in self.findings)

    @property
    def unplayable(self) -> tuple[str, ...]:
        """The violated rules because of which no player could play it."""
        return tuple(dict.fromkeys(it.rule for it in self.findings if it.severity == "unplayable"))
