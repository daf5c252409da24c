"""Fetch and cache video details for the player page: title, poster, live or not."""

from dataclasses import dataclass

from proxy.adapters.clock import Clock
from proxy.adapters.concurrency import SingleFlight
from proxy.adapters.dailymotion.api_client import ApiClient
from proxy.adapters.dailymotion.legacy_api import LegacyApi
from proxy.adapters.dailymotion.v2_api import V2Api
from proxy.adapters.timings import UpstreamTimer
from proxy.domain.allowed_hosts import AllowedHosts
from proxy.domain.caches import LruCache
from proxy.domain.reasons import Refusal
from proxy.domain.video import VideoDetails, VideoId

CACHE_SECONDS = 60.0
MAX_CACHED_DETAILS = 1000  # videos
MAX_TITLE_LENGTH, MAX_POSTER_LENGTH = 500, 2000  # characters


@dataclass(frozen=True, slots=True)
class CachedDetails:
    """Video details; `fetched_at` in seconds on the monotonic clock."""

    details: VideoDetails
    fetched_at: float


class VideoDetailsCache:
    """Caches video details for a minute.

    Its API client has a separate concurrency limit, so that player pages never delay plays.
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
        """Return a video's details, empty with API v2. Raises Refusal if the API call fails."""
        api = self._api
        if isinstance(api, V2Api):
            return VideoDetails()
        cached = self._cached.get(video)
        if cached is not None and self._clock.monotonic() < cached.fetched_at + CACHE_SECONDS:
            return cached.details
        with UpstreamTimer(self._clock):
            return await self._in_flight.join(video, lambda: self._fetch(api, video))

    async def close(self) -> None:
        """Cancel the calls in flight."""
        await self._in_flight.close()

    async def _fetch(self, api: LegacyApi, video: VideoId) -> VideoDetails:
        response = await self._client.fetch_object(api.build_details_request(video))
        received = api.read_details(response)
        details = VideoDetails(
            title=received.title[:MAX_TITLE_LENGTH],
            poster=received.poster if self._is_allowed_poster(received.poster) else "",
            is_on_air=received.is_on_air,
        )
        self._cached[video] = CachedDetails(details, self._clock.monotonic())
        return details

    def _is_allowed_poster(self, url: str) -> bool:
        """Return whether a page may load this poster: only from Dailymotion's hosts."""
        try:
            self._hosts.check(url)
        except Refusal:
            return False
        return len(url) <= MAX_POSTER_LENGTH
