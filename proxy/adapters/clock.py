"""The system clock. Tests replace it with a clock that they control."""

import asyncio
import time


class Clock:
    """Reads the system clock and waits."""

    # Seconds since 1970, for times that are stored, such as a token's `exp`.
    now = staticmethod(time.time)
    # Seconds on the monotonic clock, for durations: clock changes do not affect it.
    monotonic = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds`."""
        await asyncio.sleep(seconds)
