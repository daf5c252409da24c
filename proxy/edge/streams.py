"""The URL of a stream for one viewer: asked for at the moment of play, shared with nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from proxy.adapters.clock import Clock
from proxy.adapters.dailymotion.answers import AccessTokenRefused
from proxy.adapters.dailymotion.legacy import LegacyApi
from proxy.adapters.logs import timings
from proxy.domain.client_ip import Address
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.stream_url import check_stream_url
from proxy.domain.video import VideoId
from proxy.edge.access_tokens import AccessTokens
from proxy.edge.health import Health
from proxy.edge.single_flight import SingleFlight

Asked = tuple[VideoId, Address | None, Address | None]


class Streams:
    """Resolves videos to stream URLs.

    Identical calls under way (same video, same viewer address) are one call. Nothing is kept after
    the answer: a stream URL is a viewer's own, and short-lived.
    """

    def __init__(
        self,
        api: LegacyApi,
        access_tokens: AccessTokens,
        *,
        clock: Clock,
        health: Health,
        allowed_hosts: Sequence[str],
        plain_http: bool,
        play_timeout: float,
        egress_ip: Address | None,
    ) -> None:
        self._api = api
        self._access_tokens = access_tokens
        self._clock = clock
        self._health = health
        self._allowed_hosts = tuple(allowed_hosts)
        self._plain_http = plain_http
        self._play_timeout = play_timeout
        self._egress_ip = egress_ip
        self._calls: SingleFlight[Asked, str] = SingleFlight()

    async def resolve(self, video: VideoId, viewer: Address, *, client_ip: Address | None) -> str:
        """Return this viewer's stream URL, or refuse within `platform.play_timeout`.

        Args:
            video: what to play.
            viewer: whose URL it is; only this viewer's own requests share a call.
            client_ip: the address to lock it to; None locks it to the edge's own.
        """
        return await self._join((video, viewer, client_ip))

    async def resolve_own(self, video: VideoId, viewer: Address | None = None) -> str:
        """Return a stream URL locked to the edge's own address, or refuse as `resolve` does.

        Args:
            video: what to look at, or to relay.
            viewer: for whose playback; None for the edge's own check.
        """
        return await self._join((video, viewer, self._egress_ip))

    async def close(self) -> None:
        """Give up the calls under way."""
        await self._calls.close()

    async def _join(self, asked: Asked) -> str:
        video, _, client_ip = asked
        started = self._clock.monotonic()
        try:
            return await self._calls.join(asked, lambda: self._resolve(video, client_ip))
        finally:
            if (spent := timings.get(None)) is not None:
                spent.upstream += self._clock.monotonic() - started

    async def _resolve(self, video: VideoId, client_ip: Address | None) -> str:
        deadline = self._clock.monotonic() + self._play_timeout
        try:
            async with asyncio.timeout(self._play_timeout):
                url = await self._ask(video, client_ip, deadline)
        except TimeoutError:
            refusal = Refusal(Reason.PLATFORM_TIMEOUT, "video: out of time")
            self._health.note_refusal("video", refusal)
            raise refusal from None
        return check_stream_url(url, self._allowed_hosts, plain_http=self._plain_http)

    async def _ask(self, video: VideoId, client_ip: Address | None, deadline: float) -> str:
        """Ask with the account's token; where that is refused, once more with a new one."""
        token = await self._access_tokens.current()
        try:
            return await self._fetch(video, client_ip, token, deadline)
        except AccessTokenRefused as refusal:
            token = await self._access_tokens.replace(token, refusal)
        return await self._fetch(video, client_ip, token, deadline)

    async def _fetch(
        self, video: VideoId, client_ip: Address | None, token: str, deadline: float
    ) -> str:
        try:
            url = await self._api.fetch_stream_url(video, client_ip, token, deadline=deadline)
        except Refusal as refusal:
            self._health.note_refusal("video", refusal)
            raise
        self._health.note_success("video")
        return url
