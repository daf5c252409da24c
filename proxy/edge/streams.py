"""The URLs of a stream for one viewer: asked for at the moment of play, shared with nobody."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from proxy.adapters.clock import Clock
from proxy.adapters.logs import waiting_upstream
from proxy.adapters.metrics import Metrics
from proxy.domain.client_ip import Address
from proxy.domain.formats import Wanted
from proxy.domain.stream_url import check_stream_url
from proxy.domain.video import VideoId
from proxy.edge.calls import Calls
from proxy.edge.single_flight import SingleFlight

Fields = tuple[str, ...]
Asked = tuple[Address | None, Wanted]


class Api(Protocol):
    """Dailymotion's API, of either generation."""

    async def fetch_streams(
        self, wanted: Wanted, access_token: str, *, deadline: float
    ) -> dict[str, str]:
        """Return the stream URLs that the video has, or refuse."""


class Streams:
    """Resolves videos to stream URLs.

    Identical calls under way (same video, same viewer address, same formats) are one call. Nothing
    is kept after the answer: a stream URL is a viewer's own, and short-lived.
    """

    def __init__(
        self,
        api: Api,
        calls: Calls,
        *,
        clock: Clock,
        metrics: Metrics,
        allowed_hosts: Sequence[str],
        plain_http: bool,
        hls_fields: Fields,
        egress_ip: Address | None,
    ) -> None:
        self._api = api
        self._calls = calls
        self._clock = clock
        self._allowed_hosts = tuple(allowed_hosts)
        self._plain_http = plain_http
        self._hls_fields = tuple(hls_fields)
        self._egress_ip = egress_ip
        self._own_call = metrics.stream_lookups.labels(call="own").inc
        self._under_way: SingleFlight[Asked, dict[str, str]] = SingleFlight(
            shared=metrics.stream_lookups.labels(call="shared").inc
        )

    async def resolve(self, video: VideoId, viewer: Address, *, client_ip: Address | None) -> str:
        """Return this viewer's HLS stream URL, or refuse within `platform.play_timeout`.

        Args:
            video: what to play.
            viewer: whose URL it is; only this viewer's own requests share a call.
            client_ip: the address to lock it to; None locks it to the edge's own.
        """
        urls = await self.resolve_fields(video, viewer, self._hls_fields, client_ip=client_ip)
        return self._first(urls)

    async def resolve_fields(
        self, video: VideoId, viewer: Address, fields: Fields, *, client_ip: Address | None
    ) -> dict[str, str]:
        """Return this viewer's URLs of those formats that the video has, or refuse likewise."""
        return await self._join(viewer, Wanted(video, fields, client_ip))

    async def resolve_own(self, video: VideoId, viewer: Address | None = None) -> str:
        """Return an HLS stream URL locked to the edge's own address, or refuse likewise.

        Args:
            video: what to look at, or to relay.
            viewer: for whose playback; None for the edge's own check.
        """
        return self._first(await self.resolve_own_fields(video, viewer, self._hls_fields))

    async def resolve_own_fields(
        self, video: VideoId, viewer: Address | None, fields: Fields
    ) -> dict[str, str]:
        """Return the edge's own URLs of those formats that the video has, or refuse likewise."""
        return await self._join(viewer, Wanted(video, fields, self._egress_ip))

    async def close(self) -> None:
        """Give up the calls under way."""
        await self._under_way.close()

    def _first(self, urls: dict[str, str]) -> str:
        return next(urls[field] for field in self._hls_fields if field in urls)

    async def _join(self, viewer: Address | None, wanted: Wanted) -> dict[str, str]:
        with waiting_upstream(self._clock):
            return await self._under_way.join((viewer, wanted), lambda: self._fetch(wanted))

    async def _fetch(self, wanted: Wanted) -> dict[str, str]:
        self._own_call()
        urls = await self._calls.make(
            lambda token, deadline: self._api.fetch_streams(wanted, token, deadline=deadline)
        )
        for url in urls.values():
            self._check(url)
        return urls

    def _check(self, url: str) -> None:
        check_stream_url(url, self._allowed_hosts, plain_http=self._plain_http)
