"""How a viewer gets a stream: sent there, sent there after a look, or through us."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from proxy.domain.client_ip import Address
from proxy.domain.formats import ANY_FIELDS, FORMATS, Choice, as_download, choose
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.tokens.claims import Claims
from proxy.domain.video import VideoId
from proxy.edge.relay import Relay, RelayedPlaylist
from proxy.edge.streams import Streams
from proxy.edge.verdicts import Verdicts

Mode = Literal["redirect", "validate", "relay"]
Family = Literal["ipv4", "ipv6"]

RELAYED = "This video is relayed here, and its stream URLs are not given out. Play /play/ID.m3u8."


@dataclass(frozen=True, slots=True)
class ModeRule:
    """A mode for the videos whose whole id matches."""

    videos: re.Pattern[str]
    mode: Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """Where the viewer is sent: a URL made for this viewer, Dailymotion's or of our relay."""

    url: str
    is_relayed: bool = False


class Delivery:
    """Decides the mode of a play, and carries it out."""

    def __init__(
        self,
        streams: Streams,
        verdicts: Verdicts,
        relay: Relay,
        *,
        mode: Mode,
        rules: Sequence[ModeRule],
        cdn_families: Sequence[Family],
    ) -> None:
        self._streams = streams
        self._verdicts = verdicts
        self._relay = relay
        self._mode = mode
        self._rules = tuple(rules)
        self._cdn_families = frozenset(cdn_families)

    async def deliver(
        self, video: VideoId, viewer: Address, claims: Claims, *, client_ip: Address | None
    ) -> Redirect | RelayedPlaylist:
        """Return where to send the viewer, or the playlist itself, or refuse."""
        mode = self.mode_of(video, viewer, claims)
        if mode == "relay":
            return await self._relay.begin(video, viewer, claims)
        if mode == "redirect":
            return Redirect(url=await self._streams.resolve(video, viewer, client_ip=client_ip))
        url = await self._streams.resolve(video, viewer, client_ip=client_ip)
        await self._check(video)
        return Redirect(url=url)

    async def deliver_file(
        self,
        video: VideoId,
        viewer: Address,
        claims: Claims,
        choice: Choice,
        *,
        client_ip: Address | None,
    ) -> Redirect:
        """Return where the viewer finds an MP4, or refuse; there is no playlist to check."""
        if self.mode_of(video, viewer, claims) == "relay":
            path = await self._relay.begin_file(video, viewer, claims, choice)
            return Redirect(url=path, is_relayed=True)
        urls = await self._streams.resolve_fields(video, viewer, ANY_FIELDS, client_ip=client_ip)
        url = choose(urls, choice, max_height=None)
        return Redirect(url=as_download(url) if choice.is_download else url)

    async def find_urls(
        self,
        video: VideoId,
        viewer: Address,
        claims: Claims,
        fields: tuple[str, ...],
        *,
        client_ip: Address | None,
    ) -> dict[str, str | None]:
        """Return this viewer's URL of each format, None where the video lacks it, or refuse.

        Of what is relayed there are none: they would lead past the relay and its limits. All
        formats are asked for, or a video without these would look like one without any stream.
        """
        mode = self.mode_of(video, viewer, claims)
        if mode == "relay":
            raise Refusal(Reason.FORMAT_UNAVAILABLE, "its mode is relay", message=RELAYED)
        urls = await self._streams.resolve_fields(video, viewer, ANY_FIELDS, client_ip=client_ip)
        if mode == "validate" and any(FORMATS[field] == "hls" for field in urls.keys() & fields):
            await self._check(video)
        return {field: urls.get(field) for field in fields}

    async def _check(self, video: VideoId) -> None:
        """Refuse a video that no player could play."""
        known = await self._verdicts.find(video)
        if known.verdict == "invalid":
            raise Refusal(Reason.PLAYLIST_INVALID, known.why)

    def mode_of(self, video: VideoId, viewer: Address, claims: Claims) -> Mode:
        """Return the mode of a play: what only the relay can do goes before what is configured."""
        if claims.limits:
            return "relay"
        if f"ipv{viewer.version}" not in self._cdn_families:
            return "relay"
        for rule in self._rules:
            if rule.videos.fullmatch(video) is not None:
                return rule.mode
        return self._mode
