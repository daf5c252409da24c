"""Caches are bounded, by entries or by size."""

from proxy.domain.caches import LruCache, SizedCache


def test_a_cache_evicts_the_least_recently_used_entry():
    cache: LruCache[str, int] = LruCache(2)
    cache["a"], cache["b"] = 1, 2
    assert cache.get("a") == 1
    cache["c"] = 3

    assert ("a" in cache, "b" in cache, "c" in cache) == (True, False, True)


def test_a_sized_cache_evicts_until_all_values_fit():
    cache: SizedCache[str, str] = SizedCache(10)
    cache.set("a", "A", 4)
    cache.set("b", "B", 4)
    assert cache.get("a") == "A"
    cache.set("c", "C", 4)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == ("A", None, "C")

    cache.set("a", "AA", 6)
    assert (cache.get("a"), cache.get("c")) == ("AA", "C")
    cache.set("d", "D", 11)
    assert [cache.get(key) for key in "acd"] == [None, None, None]
