"""All caches of an instance, full at the same time, stay under the documented memory bound."""

import gc
import io
import re
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from ipaddress import IPv6Address, ip_network
from itertools import count

from hls.relayed import HEAD, compile_text
from support import NOW, ROOT, SECRET, StillClock, build_play_request, build_state, mint

from proxy.adapters import log_writer
from proxy.adapters.state.store import MAX_ENTRIES, MemoryStore
from proxy.domain import original_uri, seal
from proxy.domain.caches import LruCache, SizedCache, cache_short_texts
from proxy.domain.client_ip import (
    MAX_CACHED_ADDRESSES,
    TrustedProxies,
    format_viewer_network,
    parse_trusted_networks,
)
from proxy.domain.original_uri import read_forwarded
from proxy.domain.rates import MAX_NAMES, RateCounters
from proxy.domain.revocations import MAX_REVOCATIONS, Revocation, RevocationList
from proxy.domain.seal import SealKeys, Session
from proxy.domain.tokens import compact
from proxy.domain.tokens.claims import read_claims, verify
from proxy.domain.tokens.keyring import Keyring, load_key
from proxy.domain.variant_limits import VariantLimits
from proxy.domain.video import VideoDetails, VideoId
from proxy.edge import (
    playable_cache,
    playlist_rewriter,
    relayed_playlists,
    token_verifier,
    video_details,
)
from proxy.edge.admission import FirstUse, RateLimits
from proxy.edge.playable_cache import CachedVerdict
from proxy.edge.relayed_playlists import RelayedPlaylists
from proxy.hls import resolve
from proxy.hls.relay_urls import open_bytes, seal_file
from proxy.hls.template import Template
from proxy.settings.schema import LimitsConfig

LONG_NAME_LENGTH = 256  # of a sub, a jti or an issuer
MB = 1_000_000


def read_documented_bound() -> int:
    """Return the bound that docs/operations.md states, in bytes."""
    text = (ROOT / "docs" / "operations.md").read_text()
    (megabytes,) = re.findall(r"All caches together take less than (\d+) MB", text)
    return int(megabytes) * MB


@contextmanager
def measure_size(sizes: dict[str, int], name: str) -> Iterator[None]:
    """Record the memory that the block allocates, in bytes."""
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    yield
    gc.collect()
    sizes[name] = tracemalloc.get_traced_memory()[0] - before


def build_text(n: int, length: int) -> str:
    """Build the n-th distinct text of a length."""
    return f"{n:08}".ljust(length, "x")


def fill_verified_tokens() -> object:
    key = load_key(kid="a", algorithm="HS256", material=SECRET)
    cached = cache_short_texts(
        token_verifier.MAX_CACHED_TOKEN_LENGTH,
        max_entries=token_verifier.MAX_CACHED_TOKENS,
        function=lambda token: verify(token, Keyring([key])),
    )
    for n in range(token_verifier.MAX_CACHED_TOKENS):
        names = {"jti": build_text(n, 256), "subject": build_text(n, 256)}
        token = mint(
            key, video="*", issued_at=NOW, ttl=300, audience="a" * 400, formats=["hls"], **names
        )
        assert 1300 < len(token) <= token_verifier.MAX_CACHED_TOKEN_LENGTH
        cached(token)
    return cached


def fill_token_headers() -> object:
    for n in range(compact.MAX_CACHED_HEADERS):
        header = compact.json.dumps({"alg": "HS256", "kid": "a", "x": build_text(n, 300)})
        compact.read_header(compact.urlsafe_b64encode(header.encode()).rstrip(b"=").decode())
    return compact.read_header


def fill_original_uris() -> object:
    for n in range(original_uri.MAX_CACHED_URIS):
        uri = f"/hls/{n}?token=".ljust(original_uri.MAX_CACHED_URI_LENGTH, "%")
        read_forwarded(uris=[uri], methods=["GET"])
    for n in range(original_uri.MAX_CACHED_URIS):  # too long to be cached
        read_forwarded(uris=[f"/hls/{n}?token=".ljust(8000, "x")], methods=["GET"])
    return original_uri


def fill_seals() -> object:
    sealing = SealKeys([b"k" * 32])
    session = Session(
        video=VideoId("x8abcd"),
        network=ip_network("203.0.113.0/24"),
        started_at=NOW,
        jti="j" * 100,
        subject="s" * 100,
        issuer="i" * 100,
        issued_at=NOW,
    )
    for n in range(seal.MAX_CACHED_SEALS):
        path = seal_file(sealing.newest, session, f"https://a.dmcdn.net/{build_text(n, 600)}/a.ts")
        assert 1200 < len(path.split("/")[2]) <= seal.MAX_CACHED_SEAL_LENGTH
        open_bytes(path, sealing)
    return sealing


def fill_addresses() -> object:
    proxies = TrustedProxies(parse_trusted_networks(["10.0.0.0/8"]))
    for n in range(MAX_CACHED_ADDRESSES):
        proxies.read_hop(f"[{IPv6Address(2**125 + n).exploded}]:65535")
    return proxies


async def fill_first_uses() -> object:
    """Fill the instance's cache of first uses, and the state in its memory."""
    clock = StillClock()
    first_use = FirstUse(build_state(MemoryStore(clock), clock), clock, on_failure="deny")
    key = load_key(kid="a", algorithm="HS256", material=SECRET)
    claims = verify(mint(key, video="*", issued_at=NOW, ttl=300), Keyring([key]))
    viewer = IPv6Address("2001:db8:aaaa:bbbb::")
    for n in range(MAX_ENTRIES):
        await first_use.bind(
            build_play_request(token=f"{build_text(n, 100)}.a", viewer=viewer), claims
        )
    return first_use


def fill_revocations() -> object:
    revoked = RevocationList()
    for n in range(MAX_REVOCATIONS):
        names = {
            "value": build_text(n, LONG_NAME_LENGTH),
            "issuer": build_text(n, LONG_NAME_LENGTH),
        }
        revoked.add(Revocation(kind="sub", before=NOW, at=NOW, **names))
    return revoked


def fill_rate_counters() -> object:
    clock = StillClock()
    limits = RateLimits(LimitsConfig(subject="10/minute"), RateCounters(), clock)
    claims = read_claims({"video": "*", "iat": 0, "exp": 1})
    for n in range(MAX_NAMES):
        names = {
            "subject": build_text(n, LONG_NAME_LENGTH),
            "issuer": build_text(n, LONG_NAME_LENGTH),
        }
        viewer = IPv6Address(2**125 + n)
        limits.reserve(build_play_request(viewer=viewer), replace(claims, **names))
    return limits


def fill_verdicts() -> object:
    return {
        build_text(n, 64): CachedVerdict(
            verdict="invalid",
            cause=build_text(n, playable_cache.MAX_CAUSE_LENGTH),
            checked_at=1.0 * n,
            bad_checks=n,
        )
        for n in range(playable_cache.MAX_CACHED_VERDICTS)
    }


def fill_tracked_playlists() -> object:
    playlists = RelayedPlaylists()
    for n in range(relayed_playlists.MAX_TRACKED_PLAYLISTS):
        seal_text = f"{build_text(n, 1000)}{n:08}"
        playlists.track(seal_text, may_change=True, offers_blocking=True)
    return playlists


def fill_templates() -> object:
    """Fill the cache with templates that consist of many small objects."""
    cache: SizedCache[tuple[bytes, VariantLimits, bool], Template] = SizedCache(
        playlist_rewriter.MAX_CACHE_BYTES
    )
    size = 0
    for n in count():
        text = "".join(f"#EXTINF:4,\n{build_text(at * n, 9)}/{at}.ts\n" for at in range(200))
        limits = VariantLimits(max_height=n)
        template = compile_text(f"{HEAD}{text}", limits=limits)
        size += template.size
        if size > 1.2 * playlist_rewriter.MAX_CACHE_BYTES:
            break
        cache.set((sha256(text.encode()).digest(), limits, False), template, template.size)
    return cache


def fill_seen_playlists() -> object:
    seen: LruCache[tuple[bytes, VariantLimits, bool], bool] = LruCache(playlist_rewriter.MAX_SEEN)
    for n in range(playlist_rewriter.MAX_SEEN):
        seen[sha256(str(n).encode()).digest(), VariantLimits(max_height=n), False] = True
    return seen


def fill_details() -> object:
    return {
        build_text(n, 64): video_details.CachedDetails(
            VideoDetails(
                title=build_text(n, video_details.MAX_TITLE_LENGTH),
                poster=build_text(n, video_details.MAX_POSTER_LENGTH),
            ),
            1.0 * n,
        )
        for n in range(video_details.MAX_CACHED_DETAILS)
    }


def fill_viewer_networks() -> object:
    for n in range(2 * MAX_CACHED_ADDRESSES):
        format_viewer_network(IPv6Address(2**125 + n * 2**70))
    return format_viewer_network


def fill_playlist_folders() -> object:
    for n in range(2 * resolve.MAX_CACHED_FOLDERS):
        resolve.get_folder(f"https://a.dmcdn.net/{build_text(n, 6000)}/a.m3u8")
    return resolve


def fill_log_queue() -> object:
    lines = log_writer.LogWriter(io.StringIO(), max_lines=log_writer.MAX_QUEUED_LINES)
    for n in count():
        if n > log_writer.MAX_QUEUED_LINES + 10:
            break
        lines.write(build_text(n, 3 * LONG_NAME_LENGTH + 700))
    return lines


FILLERS: tuple[Callable[[], object], ...] = (
    fill_verified_tokens,
    fill_token_headers,
    fill_original_uris,
    fill_seals,
    fill_addresses,
    fill_revocations,
    fill_rate_counters,
    fill_verdicts,
    fill_tracked_playlists,
    fill_templates,
    fill_seen_playlists,
    fill_details,
    fill_viewer_networks,
    fill_playlist_folders,
    fill_log_queue,
)


async def test_all_full_caches_together_stay_under_the_documented_bound():
    sizes: dict[str, int] = {}
    filled = []
    tracemalloc.start()
    try:
        for fill in FILLERS:
            with measure_size(sizes, fill.__name__):
                filled.append(fill())
        with measure_size(sizes, "fill_first_uses"):
            filled.append(await fill_first_uses())
    finally:
        tracemalloc.stop()
    total = sum(sizes.values())
    bound = read_documented_bound()
    assert total < bound, {name: f"{size / MB:.1f} MB" for name, size in sizes.items()}
    assert total > bound / 3, f"{total / MB:.0f} MB: the documented bound is far too high"


def test_every_cache_of_the_code_is_listed_in_the_memory_test():
    """A new cache in the code needs an entry in CACHES, and in docs/operations.md."""
    pattern = re.compile(
        r"lru_cache\(|cache_short_texts\($|= (?:Lru|Sized)Cache\(|cache_short_texts\(\w|deque\(\)",
        re.MULTILINE,
    )
    layers = ("domain", "hls", "edge", "adapters", "web")
    counts = {
        str(path.relative_to(ROOT / "proxy")): len(pattern.findall(path.read_text()))
        for layer in layers
        for path in (ROOT / "proxy" / layer).rglob("*.py")
    }
    assert {name: times for name, times in counts.items() if times} == CACHES


# The number of caches per file. Caches of a few short entries are not documented.
CACHES = {
    "domain/client_ip.py": 2,
    "domain/clock_skew.py": 1,
    "domain/original_uri.py": 1,
    "hls/resolve.py": 1,
    "domain/rates.py": 1,
    "domain/seal.py": 1,
    "domain/caches.py": 2,
    "domain/tokens/compact.py": 1,
    "edge/admission.py": 1,
    "edge/playlist_rewriter.py": 2,
    "edge/relayed_playlists.py": 2,
    "edge/token_verifier.py": 1,
    "edge/playable_cache.py": 1,
    "edge/video_details.py": 1,
    "adapters/log_writer.py": 1,
    "adapters/state/store.py": 1,
}
