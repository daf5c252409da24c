"""Deliver a stream to a viewer: redirect, validate then redirect, or relay."""

from dataclasses import dataclass

from proxy.domain.formats import (
    ANY_FIELDS,
    FORMATS,
    Mp4Choice,
    choose_mp4,
    find_hls,
    to_download_url,
)
from proxy.domain.play_request import PlayRequest
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.tokens.claims import Claims
from proxy.domain.video import VideoId
from proxy.edge.playable_cache import PlayableCache
from proxy.edge.relay import Relay, RelayedPlaylist
from proxy.edge.stream_resolver import StreamResolver
from proxy.settings.schema import DeliveryConfig, Mode

RELAYED_ONLY = (
    "This video is relayed, so its stream URLs are not available. Play /play/ID.m3u8 instead."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """A redirect to a URL for this viewer only: Dailymotion's, or a sealed path of the relay."""

    url: str
    is_relayed: bool = False


class Delivery:
    """Chooses the delivery mode of each play and applies it."""

    def __init__(
        self,
        streams: StreamResolver,
        playable_cache: PlayableCache,
        relay: Relay,
        config: DeliveryConfig,
    ) -> None:
        self._streams = streams
        self._playable_cache = playable_cache
        self._relay = relay
        self._config = config

    async def deliver(self, play: PlayRequest, claims: Claims) -> Redirect | RelayedPlaylist:
        """Return the redirect to the stream, or the relayed playlist.

        Raises:
            Refusal: the video cannot be resolved, played or relayed.
        """
        mode = self.choose_mode(play, claims)
        if mode == "relay":
            return await self._relay.begin(play, claims)
        url = find_hls(await self._streams.resolve(play.build_viewer_request()))
        if mode == "validate":
            await self._check(play.video)
        return Redirect(url=url)

    async def deliver_file(self, play: PlayRequest, claims: Claims, choice: Mp4Choice) -> Redirect:
        """Return the redirect to an MP4. Raises Refusal if there is none.

        The modes `redirect` and `validate` are the same here: an MP4 has no playlist to check.
        """
        if self.choose_mode(play, claims) == "relay":
            path = await self._relay.begin_file(play, claims, choice)
            return Redirect(url=path, is_relayed=True)
        url = choose_mp4(
            await self._streams.resolve(play.build_viewer_request(ANY_FIELDS)),
            choice,
            max_height=None,
        )
        return Redirect(url=to_download_url(url) if choice.is_download else url)

    async def find_urls(
        self, play: PlayRequest, claims: Claims, fields: tuple[str, ...]
    ) -> dict[str, str | None]:
        """Return this viewer's URL by field; a field is None if the video lacks that format.

        Raises:
            Refusal: `format-unavailable` if the video is relayed, because its URLs would bypass the
                relay and its limits; other reasons if the video cannot be resolved or played.
        """
        mode = self.choose_mode(play, claims)
        if mode == "relay":
            raise Refusal(Reason.FORMAT_UNAVAILABLE, "this play is relayed", message=RELAYED_ONLY)
        # Request all fields, or a video without these formats looks like one without streams.
        urls = await self._streams.resolve(play.build_viewer_request(ANY_FIELDS))
        if mode == "validate" and any(FORMATS[field] == "hls" for field in urls.keys() & fields):
            await self._check(play.video)
        return {field: urls.get(field) for field in fields}

    async def _check(self, video: VideoId) -> None:
        """Raise Refusal if no player could play this video's playlists."""
        cached = await self._playable_cache.find(video)
        if cached.verdict == "invalid":
            raise Refusal(Reason.PLAYLIST_INVALID, cached.cause)

    def choose_mode(self, play: PlayRequest, claims: Claims) -> Mode:
        """Return the delivery mode of a play.

        Limits in the token, and an address family that the CDN does not serve, require the relay
        whatever is configured.
        """
        if claims.limits or f"ipv{play.viewer.version}" not in self._config.cdn_families:
            return "relay"
        for rule in self._config.rules:
            if rule.pattern.fullmatch(play.video) is not None:
                return rule.mode
        return self._config.mode
