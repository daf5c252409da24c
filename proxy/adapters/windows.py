"""Counts in sliding windows for the `limits` library, bounded.

The library's own memory keeps every name until its window is over, and a million viewers have a
million names. Here the name that was counted longest ago goes first.
"""

from __future__ import annotations

from collections import OrderedDict
from math import floor

from limits.storage import Storage
from limits.storage.base import SlidingWindowCounterSupport

from proxy.adapters.clock import Clock

MOST = 50_000  # names; 15 MB


class Windows(Storage, SlidingWindowCounterSupport):
    """How often each name was counted, in this window and in the one before."""

    STORAGE_SCHEME = None  # it is made here, and not by a URL

    def __init__(self, clock: Clock, *, most: int = MOST) -> None:
        super().__init__()
        self._clock = clock
        self._most = most
        # The window's number, the count before it, and the count in it.
        self._windows: OrderedDict[str, tuple[int, int, int]] = OrderedDict()

    def acquire_sliding_window_entry(
        self, key: str, limit: int, expiry: int, amount: int = 1
    ) -> bool:
        """Count, if the limit lets that be."""
        before, left, count, _ = self.get_sliding_window(key, expiry)
        if floor(before * left / expiry + count) + amount > limit:
            return False
        self._windows[key] = self.number_of(expiry), before, count + amount
        self._windows.move_to_end(key)
        if len(self._windows) > self._most:
            self._windows.popitem(last=False)
        return True

    def give_back(self, key: str, window: int) -> None:
        """Count one less in the window in which it was counted, if that still matters."""
        number, before, count = self._windows.get(key, (0, 0, 0))
        if number == window and count > 0:
            self._windows[key] = number, before, count - 1
        elif number == window + 1 and before > 0:
            self._windows[key] = number, before - 1, count

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """Return the count before and how long it matters, the count now and how long it does."""
        number, before, count = self._windows.get(key, (0, 0, 0))
        windows_ago = self.number_of(expiry) - number
        if windows_ago > 0:
            before, count = (count if windows_ago == 1 else 0), 0
        left = expiry - self._clock.monotonic() % expiry
        return before, left, count, left + expiry

    def clear_sliding_window(self, key: str, expiry: int) -> None:  # noqa: ARG002  # the library's signature
        """Forget a name."""
        self._windows.pop(key, None)

    def number_of(self, expiry: int) -> int:
        """Return the number of the window of so many seconds that is now."""
        return int(self._clock.monotonic() // expiry)

    # What other strategies would ask for; none of them is used.

    @property
    def base_exceptions(self) -> type[Exception]:
        """Return what may go wrong: nothing."""
        return ValueError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Not for sliding windows."""
        raise NotImplementedError

    def get(self, key: str) -> int:
        """Not for sliding windows."""
        raise NotImplementedError

    def get_expiry(self, key: str) -> float:
        """Not for sliding windows."""
        raise NotImplementedError

    def check(self) -> bool:
        """Say that it is there."""
        return True

    def reset(self) -> int | None:
        """Not for sliding windows."""
        raise NotImplementedError

    def clear(self, key: str) -> None:
        """Not for sliding windows."""
        raise NotImplementedError
