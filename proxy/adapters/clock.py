"""What time it is. Tests bring their own."""

import asyncio
import time


class Clock:
    """The machine's clock and a way to wait for it."""

    def now(self) -> float:
        """Return seconds since 1970: for what is written down, such as a token's `exp`."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds since some moment: for durations, which no clock change may bend."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)
