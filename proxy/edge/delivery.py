"""How a viewer gets a stream: sent there, sent there after a look, or through us."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from proxy.domain.client_ip import Address
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.tokens.claims import Claims
from proxy.domain.video import VideoId
from proxy.edge.relay import Relay, RelayedPlaylist
from proxy.edge.streams import Streams
from proxy.edge.verdicts import Verdicts

Mode = Literal["redirect", "validate", "relay"]
Family = Literal["ipv4", "ipv6"]
FamilyMismatch = Literal["pass", "relay"]


@dataclass(frozen=True, slots=True)
class ModeRule:
    """A mode for the videos whose whole id matches."""

    videos: re.Pattern[str]
    mode: Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """Where the viewer is sent: a URL made for this viewer."""

    url: str


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
        family_mismatch: FamilyMismatch,
        cdn_families: Sequence[Family],
    ) -> None:
        self._streams = streams
        self._verdicts = verdicts
        self._relay = relay
        self._mode = mode
        self._rules = tuple(rules)
        self._family_mismatch = family_mismatch
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
        known = await self._verdicts.find(video)
        if known.verdict == "invalid":
            raise Refusal(Reason.PLAYLIST_INVALID, known.why)
        return Redirect(url=url)

    def mode_of(self, video: VideoId, viewer: Address, claims: Claims) -> Mode:
        """Return the mode of a play: what only the relay can do goes before what is configured."""
        if claims.limits:
            return "relay"
        if self._family_mismatch == "relay" and f"ipv{viewer.version}" not in self._cdn_families:
            return "relay"
        for rule in self._rules:
            if rule.videos.fullmatch(video) is not None:
                return rule.mode
        return self._mode
