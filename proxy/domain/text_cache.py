"""Caches of functions of one text, bounded in bytes: longer texts are not cached."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

T = TypeVar("T")


def cached_up_to(
    max_length: int, *, entries: int, function: Callable[[str], T]
) -> Callable[[str], T]:
    """Return a function that caches the results of texts up to a length.

    What clients send is up to 8 kB long, and 10,000 of those would be 80 MB; what real ones send
    is much shorter. Errors are not cached.

    Args:
        max_length: characters of the longest text that is cached.
        entries: how many results are cached; the one unused for longest goes first.
        function: pure.
    """
    cached = lru_cache(entries)(function)

    def call(text: str) -> T:
        return cached(text) if len(text) <= max_length else function(text)

    return call
