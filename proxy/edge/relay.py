"""Relay playback: for viewers whom the CDN would refuse, or whose token limits the variants.

The edge resolves the stream for its own address, fetches its playlists, and writes them anew with a
relay URL for every child. The relay URLs contain the session; the edge stores nothing of it.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import NamedTuple

from proxy.adapters.concurrency import ConcurrencyLimit
from proxy.adapters.dailymotion.cdn import Cdn, ReceivedPlaylist
from proxy.domain.client_ip import Address, format_viewer_network
from proxy.domain.formats import ANY_FIELDS, Mp4Choice, choose_mp4, find_hls, to_download_url
from proxy.domain.play_request import PlayRequest
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.tokens.claims import Claims
from proxy.edge.playlist_rewriter import PlaylistRewriter
from proxy.edge.relay_sessions import RelaySessions, SessionLimits
from proxy.edge.relayed_playlists import RelayedPlaylists
from proxy.edge.stream_resolver import StreamResolver
from proxy.hls.directives import BLOCKING, add_directives, read_directives
from proxy.hls.json_lists import JsonListInvalidError, seal_asset_list, strip_steering
from proxy.hls.relay_urls import (
    SealedBytes,
    SealedPlaylist,
    open_bytes,
    open_playlist,
    seal_file,
    seal_playlist,
)
from proxy.hls.resolve import UnresolvableError, resolve_uri
from proxy.hls.template import Place

# If the stream URL leads to a Media Playlist, players would return to /play for each reload, and
# get a new session each time. With this playlist above it, they reload the playlist's relay URL.
WRAPPER = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1000000\n{path}\n"
MAX_LIST_BYTES = 256 * 1024  # of JSON, which is parsed in one go
LIMITS_NEED_VARIANTS = (
    "without a Multivariant Playlist, max_height and max_bandwidth cannot be checked"
)


class RelayedPlaylist(NamedTuple):
    """The body of a relayed playlist or list, in chunks."""

    chunks: Sequence[bytes]
    is_json: bool = False


class PlaylistRequest(NamedTuple):
    """A request for a relayed playlist.

    Attributes:
        sealed: the playlist.
        directives: its delivery directives.
        origin: of this service as the viewer sees it; see `Place`.
    """

    sealed: SealedPlaylist
    directives: Mapping[str, str]
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayState:
    """The relay's state, which a change of the settings does not reset."""

    playlists: RelayedPlaylists
    sessions: SessionLimits
    limit: ConcurrencyLimit
    blocking_limit: ConcurrencyLimit


class Relay:
    """Begins sessions, and serves their relay URLs."""

    def __init__(
        self,
        streams: StreamResolver,
        cdn: Cdn,
        rewriter: PlaylistRewriter,
        sessions: RelaySessions,
        state: RelayState,
    ) -> None:
        self._streams = streams
        self._cdn = cdn
        self._rewriter = rewriter
        self._sessions = sessions
        self._state = state
        self.admit = sessions.admit
        self.request = state.sessions.request
        self.open = cdn.open

    async def begin(self, play: PlayRequest, claims: Claims) -> RelayedPlaylist:
        """Return the first playlist of a new session. Raises Refusal if there is none."""
        key, session = self._sessions.begin(play, claims)
        url = find_hls(await self._streams.resolve(play.build_edge_request()))
        owner = format_viewer_network(play.viewer)
        with self.request("reload", session, play.viewer):
            async with self._state.limit:
                received = await self._cdn.fetch_playlist(url)
                template = await self._rewriter.prepare(
                    received, variables={}, limits=session.limits, was_changing=False, owner=owner
                )
                path = seal_playlist(key, session, url, {}, "playlist")
                if template.kind == "media":
                    if session.limits:
                        raise Refusal(Reason.FORMAT_UNAVAILABLE, LIMITS_NEED_VARIANTS)
                    return RelayedPlaylist(chunks=[WRAPPER.format(path=path).encode()])
                place = Place(
                    key=key,
                    session=session,
                    seal=path.split("/")[2],
                    sealed_url=url,
                    url=received.url,
                    variables=template.variables,
                    is_at_relay_url=False,
                )
                chunks = await self._rewriter.render(template, place, owner=owner)
                return RelayedPlaylist(chunks=chunks)

    async def begin_file(self, play: PlayRequest, claims: Claims, choice: Mp4Choice) -> str:
        """Return the relay URL of a video's MP4 in a new session.

        Raises:
            Refusal: the video has no MP4 that the viewer may play.
        """
        key, session = self._sessions.begin(play, claims)
        if session.limits.max_bandwidth is not None:
            raise Refusal(
                Reason.FORMAT_UNAVAILABLE,
                "the token has max_bandwidth, which cannot be checked for an MP4",
            )
        # HLS too: a video without any MP4 is not without any stream.
        urls = await self._streams.resolve(play.build_edge_request(ANY_FIELDS))
        url = choose_mp4(urls, choice, max_height=session.limits.max_height)
        return seal_file(key, session, to_download_url(url) if choice.is_download else url)

    def find_playlist(
        self, raw_path: str, query: Sequence[tuple[str, str]], origin: str
    ) -> PlaylistRequest:
        """Return the playlist that a relay URL leads to. Raises Refusal `seal-invalid`."""
        sealed = open_playlist(raw_path, self._sessions.keys)
        directives = read_directives(query, sealed.kind)
        return PlaylistRequest(sealed=sealed, directives=directives, origin=origin)

    async def fetch_playlist(self, request: PlaylistRequest, viewer: Address) -> RelayedPlaylist:
        """Return the current state of a playlist. Raises Refusal if it cannot be relayed."""
        sealed, directives = request.sealed, request.directives
        is_blocking = not BLOCKING.isdisjoint(directives)
        if is_blocking and not self._state.playlists.offers_blocking(sealed.seal):
            is_blocking = False  # it would wait for seconds outside the concurrency limit
            directives = {name: value for name, value in directives.items() if name not in BLOCKING}
        owner = format_viewer_network(viewer)
        counted = nullcontext() if is_blocking else self.request("reload", sealed.session, viewer)
        limit = self._state.blocking_limit if is_blocking else self._state.limit
        with counted:
            async with limit:
                received = await self._cdn.fetch_playlist(
                    add_directives(sealed.url, directives), is_blocking=is_blocking
                )
                if sealed.kind != "playlist":
                    body = self._rewrite_list(received, request)
                    return RelayedPlaylist(chunks=[body], is_json=True)
                return RelayedPlaylist(chunks=await self._rewrite(received, request, owner))

    def find_bytes(self, raw_path: str) -> SealedBytes:
        """Return the file that a relay URL leads to. Raises Refusal `seal-invalid`."""
        sealed = open_bytes(raw_path, self._sessions.keys)
        self._cdn.hosts.check(sealed.url)
        return sealed

    async def _rewrite(
        self, received: ReceivedPlaylist, request: PlaylistRequest, owner: str
    ) -> list[bytes]:
        sealed, playlists = request.sealed, self._state.playlists
        template = await self._rewriter.prepare(
            received,
            variables=sealed.variables,
            limits=sealed.session.limits,
            was_changing=playlists.was_changing(sealed.seal),
            owner=owner,
        )
        playlists.track(
            sealed.seal,
            may_change=template.may_change,
            offers_blocking=template.offers_blocking,
        )
        is_variant = template.kind == "media"
        place = Place(
            key=sealed.key,
            session=sealed.session,
            seal=sealed.seal,
            sealed_url=sealed.url,
            url=received.url,
            variables=sealed.variables if is_variant else template.variables,
            is_at_relay_url=True,
            origin=request.origin,
        )
        return await self._rewriter.render(template, place, owner=owner)

    def _rewrite_list(self, received: ReceivedPlaylist, request: PlaylistRequest) -> bytes:
        """Return an asset list or a steering manifest with relay URLs."""
        sealed = request.sealed
        if len(received.body) > MAX_LIST_BYTES:
            detail = f"CDN: the JSON document is larger than {MAX_LIST_BYTES} bytes"
            raise Refusal(Reason.PLAYLIST_TOO_LARGE, detail)

        def seal(uri: str) -> str | None:
            try:
                url = self._cdn.hosts.check(resolve_uri(received.url, uri))
            except (Refusal, UnresolvableError):
                return None
            if sealed.kind == "steering":
                return seal_playlist(sealed.key, sealed.session, url, {}, "steering")
            # hls.js resolves the URI of an asset against the page, so a path is not enough.
            path = seal_playlist(sealed.key, sealed.session, url, {}, "playlist")
            return f"{request.origin}{path}"

        try:
            if sealed.kind == "asset-list":
                return seal_asset_list(received.body, seal)
            return strip_steering(received.body, seal)
        except JsonListInvalidError:
            detail = f"CDN: the response is not a valid JSON document (kind: {sealed.kind})"
            raise Refusal(Reason.PLATFORM_BAD_RESPONSE, detail) from None
