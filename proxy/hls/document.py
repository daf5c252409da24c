"""A playlist that was written anew: its text, its children, and the changed lines."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from proxy.hls.children import Child

PlaylistKind = Literal["multivariant", "media"]
ChangeKind = Literal["drops", "changes", "makes a gap of"]
MAX_CHANGES = 1000  # that are recorded


class Change(NamedTuple):
    """A line of the received playlist that the relay does not pass on as it is."""

    line: int
    kind: ChangeKind


class SegmentRun(NamedTuple):
    """Lines of segments beside the playlist that are written as they were received.

    Attributes:
        text: the lines, with `children.MARK` before each name.
        names: the names of the segments.
    """

    text: str
    names: list[str]


@dataclass(slots=True, kw_only=True)
class Document:
    """A playlist in canonical form.

    Attributes:
        kind: what it is.
        blocks: the lines, in blocks. In a text, `children.MARK` stands where a child's relay URL
            belongs.
        children: of the texts, in the order of the marks.
        variables: the variables that it defines, for its own children.
        depends_on_url: whether the text depends on the playlist's URL or on another playlist, so
            that the same body may stand for another text elsewhere.
        is_vod: whether it will never change; see `MediaFacts`.
        offers_blocking: whether it announces blocking reloads (CAN-BLOCK-RELOAD).
        variant_count: the number of variants.
        changes: the first lines that were changed or dropped.
    """

    kind: PlaylistKind
    blocks: list[str | SegmentRun] = field(default_factory=list)
    children: list[Child] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    depends_on_url: bool = False
    is_vod: bool = False
    offers_blocking: bool = False
    variant_count: int = 0
    changes: list[Change] = field(default_factory=list)
