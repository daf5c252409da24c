"""What the player page shows of a video: asked for aside from the plays, and cached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from proxy.adapters.clock import Clock
from proxy.adapters.dailymotion.legacy import LegacyApi
from proxy.adapters.logs import waiting_upstream
from proxy.domain.lru import Lru
from proxy.domain.reasons import Refusal
from proxy.domain.stream_url import check_stream_url
from proxy.domain.video import Details, VideoId
from proxy.edge.calls import Calls
from proxy.edge.single_flight import SingleFlight

CACHE_SECONDS = 60.0
MAX_CACHED = 1000  # videos
MAX_TITLE, MAX_POSTER = 500, 2000  # characters


@dataclass(frozen=True, slots=True)
class Cached:
    """Details and when they were fetched, on the monotonic clock."""

    details: Details
    fetched_at: float


class VideoDetails:
    """Fetches details, one call for each video and minute.

    Its calls have a concurrency limit of their own, so that pages never queue before plays.
    """

    def __init__(
        self,
        api: LegacyApi | None,
        calls: Calls,
        *,
        clock: Clock,
        allowed_hosts: Sequence[str],
        plain_http: bool,
    ) -> None:
        self._api = api
        self._calls = calls
        self._clock = clock
        self._allowed_hosts = tuple(allowed_hosts)
        self._plain_http = plain_http
        self._cached: Lru[VideoId, Cached] = Lru(MAX_CACHED)
        self._under_way: SingleFlight[VideoId, Details] = SingleFlight()

    async def find(self, video: VideoId) -> Details:
        """Return a video's details, or refuse; all empty where the API has none (v2)."""
        if self._api is None:
            return Details()
        cached = self._cached.get(video)
        if cached is not None and self._clock.monotonic() < cached.fetched_at + CACHE_SECONDS:
            return cached.details
        api = self._api
        with waiting_upstream(self._clock):
            return await self._under_way.join(video, lambda: self._fetch(api, video))

    async def close(self) -> None:
        """Give up the calls under way."""
        await self._under_way.close()

    async def _fetch(self, api: LegacyApi, video: VideoId) -> Details:
        found = await self._calls.make(
            lambda token, deadline: api.fetch_details(video, token, deadline=deadline)
        )
        details = Details(
            title=found.title[:MAX_TITLE],
            poster=found.poster if self._is_poster(found.poster) else "",
            is_on_air=found.is_on_air,
        )
        self._cached[video] = Cached(details, self._clock.monotonic())
        return details

    def _is_poster(self, url: str) -> bool:
        """Say whether a page may load it: from Dailymotion's hosts alone."""
        try:
            check_stream_url(url, self._allowed_hosts, plain_http=self._plain_http)
        except Refusal:
            return False
        return len(url) <= MAX_POSTER
