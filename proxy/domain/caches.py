"""Caches that limit the number of entries, and the length of cached texts."""

from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class LruCache(Generic[K, V]):
    """Cache that drops the least recently used entry when full.

    Threads may share a cache: each operation on its dict is atomic.
    """

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
        """Return the value of a key, or None if the key is missing; marks the entry as used."""
        value = self._entries.get(key)
        if value is not None:
            self[key] = value
        return value

    def pop(self, key: K) -> V | None:
        """Remove an entry and return its value, or None if the key is missing."""
        return self._entries.pop(key, None)


T = TypeVar("T")


def cache_short_texts(
    max_length: int, *, max_entries: int, function: Callable[[str], T]
) -> Callable[[str], T]:
    """Wrap a function with an LRU cache for texts of at most `max_length` characters.

    Clients can send texts of up to 8 kB, and 10,000 of those would take 80 MB; real clients send
    much shorter texts. Exceptions are not cached.
    """
    cached = lru_cache(max_entries)(function)

    def call(text: str) -> T:
        return cached(text) if len(text) <= max_length else function(text)

    return call


class SizedCache(Generic[K, V]):
    """Cache that limits the sum of the sizes of its values; drops the least recently used."""

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._size = 0
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def get(self, key: K) -> V | None:
        """Return the value of a key, or None if the key is missing; marks the entry as used."""
        if (entry := self._entries.get(key)) is None:
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def set(self, key: K, value: V, size: int) -> None:
        """Add an entry, and drop others until all fit."""
        _, old_size = self._entries.pop(key, (None, 0))
        self._entries[key] = value, size
        self._size += size - old_size
        while self._size > self._max_size:
            _, (_, dropped) = self._entries.popitem(last=False)
            self._size -= dropped
