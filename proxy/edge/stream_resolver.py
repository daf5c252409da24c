"""Resolve stream URLs at the moment of play, and fetch a video's title for the player page."""

from dataclasses import dataclass

from proxy.adapters.clock import Clock
from proxy.adapters.concurrency import SingleFlight
from proxy.adapters.dailymotion.api_client import ApiClient
from proxy.adapters.dailymotion.legacy_api import LegacyApi
from proxy.adapters.dailymotion.v2_api import V2Api
from proxy.adapters.telemetry import Telemetry
from proxy.adapters.timings import measure_upstream
from proxy.domain.allowed_hosts import AllowedHosts
from proxy.domain.caches import LruCache
from proxy.domain.client_ip import Address
from proxy.domain.formats import StreamRequest
from proxy.domain.reasons import Refusal
from proxy.domain.video import VideoDetails, VideoId

CACHE_SECONDS = 60.0
MAX_CACHED_DETAILS = 1000  # videos
MAX_TITLE_LENGTH, MAX_POSTER_LENGTH = 500, 2000  # characters


class StreamResolver:
    """Resolves videos to stream URLs.

    Identical requests in flight (same video, viewer, address and formats) are one call. Nothing is
    kept after the response: a stream URL is a viewer's own, and short-lived.
    """

    def __init__(
        self,
        client: ApiClient,
        api: LegacyApi | V2Api,
        hosts: AllowedHosts,
        telemetry: Telemetry,
        *,
        egress_ip: Address | None,
    ) -> None:
        self._client = client
        self._api = api
        self._hosts = hosts
        self._clock = telemetry.clock
        self._egress_ip = egress_ip
        lookups = telemetry.metrics.upstream.stream_lookups
        self._count_uncoalesced = lookups.labels(coalesced="false").inc
        self._in_flight: SingleFlight[StreamRequest, dict[str, str]] = SingleFlight(
            shared=lookups.labels(coalesced="true").inc
        )

    async def resolve(self, wanted: StreamRequest) -> dict[str, str]:
        """Return the URLs of those fields that the video has, at least one, or refuse."""
        with measure_upstream(self._clock):
            return await self._in_flight.join(wanted, lambda: self._fetch(wanted))

    async def close(self) -> None:
        """Give up the calls in flight."""
        await self._in_flight.close()

    async def _fetch(self, wanted: StreamRequest) -> dict[str, str]:
        self._count_uncoalesced()
        client_ip = self._egress_ip if wanted.is_for_edge else wanted.client_ip
        request = self._api.build_stream_request(wanted.video, wanted.fields, client_ip)
        urls = self._api.read_streams(await self._client.fetch_object(request), wanted.fields)
        for url in urls.values():
            self._hosts.check(url)
        return urls


@dataclass(frozen=True, slots=True)
class CachedDetails:
    """Details and when they were fetched, on the monotonic clock."""

    details: VideoDetails
    fetched_at: float


class VideoDetailsCache:
    """Fetches details, one call for each video and minute.

    Its client has a concurrency limit of its own, so that pages never queue before plays.
    """

    def __init__(
        self, client: ApiClient, api: LegacyApi | V2Api, hosts: AllowedHosts, clock: Clock
    ) -> None:
        self._client = client
        self._api = api
        self._hosts = hosts
        self._clock = clock
        self._cached: LruCache[VideoId, CachedDetails] = LruCache(MAX_CACHED_DETAILS)
        self._in_flight: SingleFlight[VideoId, VideoDetails] = SingleFlight()

    async def find(self, video: VideoId) -> VideoDetails:
        """Return a video's details, or refuse; all empty if the API has none (v2)."""
        api = self._api
        if isinstance(api, V2Api):
            return VideoDetails()
        cached = self._cached.get(video)
        if cached is not None and self._clock.monotonic() < cached.fetched_at + CACHE_SECONDS:
            return cached.details
        with measure_upstream(self._clock):
            return await self._in_flight.join(video, lambda: self._fetch(api, video))

    async def close(self) -> None:
        """Give up the calls in flight."""
        await self._in_flight.close()

    async def _fetch(self, api: LegacyApi, video: VideoId) -> VideoDetails:
        found = api.read_details(await self._client.fetch_object(api.build_details_request(video)))
        details = VideoDetails(
            title=found.title[:MAX_TITLE_LENGTH],
            poster=found.poster if self._is_poster(found.poster) else "",
            is_on_air=found.is_on_air,
        )
        self._cached[video] = CachedDetails(details, self._clock.monotonic())
        return details

    def _is_poster(self, url: str) -> bool:
        """Say whether a page may load it: from Dailymotion's hosts alone."""
        try:
            self._hosts.check(url)
        except Refusal:
            return False
        return len(url) <= MAX_POSTER_LENGTH
