"""Rewrite received playlists for relay sessions; cache templates of playlists that come again.

Every viewer of a live stream gets the same playlist within a few seconds, and every viewer of a VOD
gets the same playlist for days. A template depends on the received bytes only, and contains nothing
of a session. It is cached if the same bytes come a second time.
"""

import asyncio
from collections.abc import Generator, Mapping
from hashlib import sha256

from proxy.adapters.dailymotion.cdn import ReceivedPlaylist
from proxy.adapters.telemetry import Telemetry
from proxy.domain.allowed_hosts import AllowedHosts
from proxy.domain.caches import LruCache, SizedCache
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.variant_limits import VariantLimits
from proxy.edge.sliced_work import SlicedWork
from proxy.hls.compile_template import compile_template
from proxy.hls.playlist_writer import is_playlist, write_playlist
from proxy.hls.template import Place, Template

MAX_CACHE_BYTES = 32 * 1024 * 1024
MAX_TEMPLATE_BYTES = 4 * 1024 * 1024  # larger templates are not cached
MAX_SEEN = 20_000  # digests of playlists that came once
# Larger bodies are hashed in a thread, since hashing them takes longer than a slice.
MAX_INLINE_HASH_BYTES = 512 * 1024

Key = tuple[bytes, int | None, int | None, bool]


class PlaylistRewriter:
    """Writes received playlists anew and renders them for sessions."""

    def __init__(self, telemetry: Telemetry, hosts: AllowedHosts) -> None:
        self._metrics = telemetry.metrics.playlists
        self._clock = telemetry.clock
        self._hosts = hosts
        self._work = SlicedWork(telemetry.clock)
        self._templates: SizedCache[Key, Template] = SizedCache(MAX_CACHE_BYTES)
        self._seen: LruCache[Key, bool] = LruCache(MAX_SEEN)

    async def prepare(
        self,
        received: ReceivedPlaylist,
        *,
        variables: Mapping[str, str],
        limits: VariantLimits,
        was_changing: bool,
        owner: str,
    ) -> Template:
        """Return the template of a received playlist.

        Args:
            received: the playlist.
            variables: of the Multivariant Playlist above it.
            limits: what the viewer may play.
            was_changing: whether the session has seen this playlist before, and it could change.
            owner: whose turn it is if the playlist is large.

        Raises:
            Refusal: no player could play it, or it must not be relayed.
        """
        if not is_playlist(received.body):
            raise Refusal(Reason.PLATFORM_BAD_RESPONSE, "CDN: the response is not a playlist")
        digest = await _hash(received.body)
        key = digest, limits.max_height, limits.max_bandwidth, was_changing
        if (template := self._templates.get(key)) is not None:
            self._metrics.templates.labels(result="cached").inc()
            return template
        started = self._clock.monotonic()
        template = await self._work.run(
            self._write(received, variables, limits, was_changing=was_changing), owner=owner
        )
        self._metrics.rewrite_duration.observe(self._clock.monotonic() - started)
        if not template.is_reusable:
            self._metrics.templates.labels(result="not-reusable").inc()
            return template
        self._metrics.templates.labels(result="new").inc()
        if key in self._seen and _is_cacheable(template):
            self._templates.set(key, template, template.size)
        self._seen[key] = True
        return template

    async def render(self, template: Template, place: Place, *, owner: str) -> list[bytes]:
        """Return the playlist for a session, in chunks.

        Raises:
            Refusal: a URL is too long to be sealed.
        """
        chunks = await self._work.run(template.render(place), owner=owner)
        if not _is_cacheable(template):
            await self._work.run(template.free(), owner=owner)
        return chunks

    def _write(
        self,
        received: ReceivedPlaylist,
        variables: Mapping[str, str],
        limits: VariantLimits,
        *,
        was_changing: bool,
    ) -> Generator[None, None, Template]:
        document = yield from write_playlist(
            received.body,
            base=received.url,
            hosts=self._hosts,
            imported=variables,
            limits=limits,
        )
        return (
            yield from compile_template(
                document, received.url, has_limits=bool(limits), was_changing=was_changing
            )
        )


def _is_cacheable(template: Template) -> bool:
    return template.is_reusable and template.size <= MAX_TEMPLATE_BYTES


async def _hash(body: bytes) -> bytes:
    if len(body) <= MAX_INLINE_HASH_BYTES:
        return sha256(body).digest()
    return await asyncio.to_thread(lambda: sha256(body).digest())
