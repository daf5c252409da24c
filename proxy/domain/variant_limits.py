"""Limits on the picture height and bandwidth of the variants that a viewer may play."""

import re
from dataclasses import dataclass

NUMBER = re.compile(r"[0-9]{1,20}", re.ASCII)
RESOLUTION = re.compile(r"[0-9]{1,9}x([0-9]{1,9})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantLimits:
    """The largest variant that a viewer may play.

    Attributes:
        max_height: the maximum picture height in pixels; None means no limit.
        max_bandwidth: the maximum bandwidth in bits per second; None means no limit.
    """

    max_height: int | None = None
    max_bandwidth: int | None = None

    def __bool__(self) -> bool:
        return self.max_height is not None or self.max_bandwidth is not None

    def allows(self, values: dict[str, str]) -> bool:
        """Check whether a variant with these attributes is within the limits.

        A variant that lacks the attribute for a limit (BANDWIDTH, RESOLUTION) exceeds that limit.
        """
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
