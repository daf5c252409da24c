"""Leave out the variants that a viewer may not have."""

from collections.abc import Iterator
from typing import Literal

from proxy.domain.variant_limits import VariantLimits
from proxy.hls.lexer import Line, first_values, scan

SIZED = frozenset({"EXT-X-STREAM-INF", "EXT-X-I-FRAME-STREAM-INF"})
READ = SIZED | {"EXT-X-MEDIA"}


def drop_variants(text: str, limits: VariantLimits) -> tuple[str, int]:
    """Return a playlist without what leads beyond the limits, and how many variants stay.

    With the variants go the video renditions (EXT-X-MEDIA) that none of the others refers to, URIs
    that no tag describes, and in Media Playlists the reports on other renditions.
    """
    kept, groups, count = [], set(), 0
    has_variants = False
    variant: Literal["none", "kept", "left out"] = "none"  # whose URI is still to come
    for line in scan(text, read_of=READ):
        values = first_values(line) if line.tag in SIZED else {}
        if line.tag == "EXT-X-STREAM-INF":
            has_variants = True
            variant = "kept" if limits.allows(values) else "left out"
            if variant == "kept":
                count += 1
                groups.add(values.get("VIDEO"))
        is_left_out = (
            (line.tag in SIZED and not limits.allows(values))
            or line.tag == "EXT-X-RENDITION-REPORT"
            or (has_variants and bool(line.uri) and variant != "kept")
        )
        if not is_left_out:
            kept.append(line)
        if line.uri:
            variant = "none"
    return "".join(f"{line.text}{line.ending}" for line in _without(kept, groups)), count


def _without(lines: list[Line], groups: set[str | None]) -> Iterator[Line]:
    for line in lines:
        if line.tag == "EXT-X-MEDIA":
            values = first_values(line)
            if values.get("TYPE") == "VIDEO" and values.get("GROUP-ID") not in groups:
                continue
        yield line
