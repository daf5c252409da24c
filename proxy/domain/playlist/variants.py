"""Leave out the variants that a viewer may not have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from proxy.domain.playlist.scan import Line, first_values, scan

SIZED = frozenset({"EXT-X-STREAM-INF", "EXT-X-I-FRAME-STREAM-INF"})
READ = SIZED | {"EXT-X-MEDIA"}
NUMBER = re.compile(r"[0-9]{1,20}", re.ASCII)
RESOLUTION = re.compile(r"[0-9]{1,9}x([0-9]{1,9})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The largest variant to offer: pixels of height, bits per second; None is no limit."""

    max_height: int | None = None
    max_bandwidth: int | None = None

    def __bool__(self) -> bool:
        return self != NO_LIMITS

    def allow(self, values: dict[str, str]) -> bool:
        """Say whether a variant is within the limits; one that does not say its size is not."""
        if self.max_bandwidth is not None:
            bandwidth = values.get("BANDWIDTH", "")
            if NUMBER.fullmatch(bandwidth) is None or int(bandwidth) > self.max_bandwidth:
                return False
        if self.max_height is not None:
            resolution = RESOLUTION.fullmatch(values.get("RESOLUTION", ""))
            if resolution is None or int(resolution[1]) > self.max_height:
                return False
        return True


NO_LIMITS = Limits()


def within(text: str, limits: Limits) -> tuple[str, int]:
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
            variant = "kept" if limits.allow(values) else "left out"
            if variant == "kept":
                count += 1
                groups.add(values.get("VIDEO"))
        is_left_out = (
            (line.tag in SIZED and not limits.allow(values))
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
