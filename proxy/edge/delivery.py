"""How a viewer gets a stream: redirect, validate then redirect, or relay."""

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
    "This video is relayed here, and its stream URLs are not given out. Play /play/ID.m3u8."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """Where the viewer is sent: a URL made for this viewer, Dailymotion's or of our relay."""

    url: str
    is_relayed: bool = False


class Delivery:
    """Decides the mode of a play, and carries it out."""

    def __init__(
        self, streams: StreamResolver, verdicts: PlayableCache, relay: Relay, config: DeliveryConfig
    ) -> None:
        self._streams = streams
        self._verdicts = verdicts
        self._relay = relay
        self._config = config

    async def deliver(self, play: PlayRequest, claims: Claims) -> Redirect | RelayedPlaylist:
        """Return where to send the viewer, or the playlist itself, or refuse."""
        mode = self.choose_mode(play, claims)
        if mode == "relay":
            return await self._relay.begin(play, claims)
        url = find_hls(await self._streams.resolve(play.build_viewer_request()))
        if mode == "validate":
            await self._check(play.video)
        return Redirect(url=url)

    async def deliver_file(self, play: PlayRequest, claims: Claims, choice: Mp4Choice) -> Redirect:
        """Return where the viewer finds an MP4, or refuse; there is no playlist to check."""
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
        """Return this viewer's URL of each format, None if the video lacks it, or refuse.

        Of what is relayed there are none: they would lead past the relay and its limits. All
        formats are asked for, or a video without these would look like one without any stream.
        """
        mode = self.choose_mode(play, claims)
        if mode == "relay":
            raise Refusal(Reason.FORMAT_UNAVAILABLE, "its mode is relay", message=RELAYED_ONLY)
        urls = await self._streams.resolve(play.build_viewer_request(ANY_FIELDS))
        if mode == "validate" and any(FORMATS[field] == "hls" for field in urls.keys() & fields):
            await self._check(play.video)
        return {field: urls.get(field) for field in fields}

    async def _check(self, video: VideoId) -> None:
        """Refuse a video that no player could play."""
        known = await self._verdicts.find(video)
        if known.verdict == "invalid":
            raise Refusal(Reason.PLAYLIST_INVALID, known.cause)

    def choose_mode(self, play: PlayRequest, claims: Claims) -> Mode:
        """Return the mode of a play: what only the relay can do goes before what is configured."""
        if claims.limits or f"ipv{play.viewer.version}" not in self._config.cdn_families:
            return "relay"
        for rule in self._config.rules:
            if rule.pattern.fullmatch(play.video) is not None:
                return rule.mode
        return self._config.mode
