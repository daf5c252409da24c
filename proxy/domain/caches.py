"""Caches with a bounded number of entries, of bounded length."""

from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class LruCache(Generic[K, V]):
    """Keeps the entries that were set or read last; each step is atomic for threads."""

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._entries: OrderedDict[K, V] = OrderedDict()

    def __contains__(self, key: K) -> bool:
        return key in self._entries

    def __setitem__(self, key: K, value: V) -> None:
        self._entries.pop(key, None)
        self._entries[key] = value
        if len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)

    def get(self, key: K) -> V | None:
        """Return the value of a key, None if there is none; the entry counts as used."""
        value = self._entries.get(key)
        if value is not None:
            self[key] = value
        return value

    def pop(self, key: K) -> V | None:
        """Remove an entry and return its value, None if there is none."""
        return self._entries.pop(key, None)


T = TypeVar("T")


def cache_short_texts(
    max_length: int, *, max_entries: int, function: Callable[[str], T]
) -> Callable[[str], T]:
    """Return a function that caches the results of texts of so many characters.

    What clients send is up to 8 kB long, and 10,000 of those would be 80 MB; what real ones send
    is much shorter. The result unused for longest goes first. Errors are not cached.
    """
    cached = lru_cache(max_entries)(function)

    def call(text: str) -> T:
        return cached(text) if len(text) <= max_length else function(text)

    return call
