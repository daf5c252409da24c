"""Limits on the variants that a viewer may get: picture height and bandwidth."""

import re
from dataclasses import dataclass

NUMBER = re.compile(r"[0-9]{1,20}", re.ASCII)
RESOLUTION = re.compile(r"[0-9]{1,9}x([0-9]{1,9})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantLimits:
    """The largest variant to offer: pixels of height, bits per second; None is no limit."""

    max_height: int | None = None
    max_bandwidth: int | None = None

    def __bool__(self) -> bool:
        return self != NO_LIMITS

    def allows(self, values: dict[str, str]) -> bool:
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


NO_LIMITS = VariantLimits()
