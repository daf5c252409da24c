"""Playlists on behalf of viewers whose address the CDN would refuse, or whom we limit.

The edge resolves for its own address, fetches, checks, and hands on playlists in which every child
is a sealed path of ours. The session is carried by the seals, and kept nowhere.
"""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from proxy.adapters.concurrency import ConcurrencyLimit
from proxy.adapters.dailymotion.cdn import Cdn, ReceivedPlaylist
from proxy.domain.client_ip import Address, format_viewer_network
from proxy.domain.formats import ANY_FIELDS, Mp4Choice, choose_mp4, find_hls, to_download_url
from proxy.domain.play_request import PlayRequest
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.seal import SealKey, Session
from proxy.domain.sealed_paths import SealedBytes, SealedPlaylist, Sealer, open_bytes, open_playlist
from proxy.domain.tokens.claims import Claims
from proxy.edge.playlist_checker import PlaylistChecker
from proxy.edge.relay_sessions import RelaySessions, SessionLimits
from proxy.edge.relayed_playlists import RelayedPlaylists
from proxy.edge.stream_resolver import StreamResolver
from proxy.hls.directives import BLOCKING, add_directives, read_directives
from proxy.hls.lint.check import Report
from proxy.hls.seal_uris import seal_uris
from proxy.hls.variants import drop_variants

# Where the stream URL leads to a Media Playlist, players would come back to /play for each reload,
# and each time find another session. Behind this they come back to the playlist.
WRAPPED = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1000000\n{path}\n"

NO_VARIANT_LEFT = (
    "every variant exceeds the token's max_height or max_bandwidth, or does not state its size"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayedPlaylist:
    """A playlist ready to be sent."""

    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedPlaylist:
    """A playlist of a session that is asked for, and how."""

    path: str
    sealed: SealedPlaylist
    directives: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayState:
    """What the relay keeps as long as the process lasts, whatever the settings are."""

    playlists: RelayedPlaylists
    sessions: SessionLimits
    limit: ConcurrencyLimit
    blocking_limit: ConcurrencyLimit


@dataclass(frozen=True, slots=True)
class Seal:
    """With which key and for which session to seal, and whose turn it uses to do so."""

    key: SealKey
    session: Session
    owner: str


class Relay:
    """Opens sessions, and answers for the sealed paths of theirs."""

    def __init__(
        self,
        streams: StreamResolver,
        cdn: Cdn,
        checking: PlaylistChecker,
        sessions: RelaySessions,
        state: RelayState,
    ) -> None:
        self._streams = streams
        self._cdn = cdn
        self._checking = checking
        self._sessions = sessions
        self._state = state
        self.admit = sessions.admit
        # Counts a request until its answer is sent, or refuses it with `rate-limited`.
        self.request = state.sessions.request
        # Opens the bytes of a sealed path at the CDN, to be passed on.
        self.open = cdn.open

    async def begin(self, play: PlayRequest, claims: Claims) -> RelayedPlaylist:
        """Return the first playlist of a new session, or refuse."""
        key, session = self._sessions.begin(play, claims)
        url = find_hls(await self._streams.resolve(play.build_edge_request()))
        owner = format_viewer_network(play.viewer)
        with self.request("reload", session, play.viewer):
            async with self._state.limit:
                received = await self._cdn.fetch_playlist(url)
                report = await self._checked(received, owner)
                if report.kind == "media":
                    return RelayedPlaylist(body=self._wrapped(url, key, session))
                body = await self._hand_on(report, received, Seal(key, session, owner))
                return RelayedPlaylist(body=body)

    async def begin_file(self, play: PlayRequest, claims: Claims, choice: Mp4Choice) -> str:
        """Return the path of a video's MP4 in a new session, or refuse."""
        key, session = self._sessions.begin(play, claims)
        if session.limits.max_bandwidth is not None:
            raise Refusal(
                Reason.FORMAT_UNAVAILABLE,
                "the token has max_bandwidth, which cannot be checked for an MP4",
            )
        # HLS too: a video without any MP4 is not without any stream.
        urls = await self._streams.resolve(play.build_edge_request(ANY_FIELDS))
        url = choose_mp4(urls, choice, max_height=session.limits.max_height)
        return Sealer(key, session).file_path(to_download_url(url) if choice.is_download else url)

    def find_playlist(self, raw_path: str, query: Sequence[tuple[str, str]]) -> AskedPlaylist:
        """Return what a sealed path of a playlist stands for, or refuse."""
        sealed = open_playlist(raw_path, self._sessions.keys)
        return AskedPlaylist(path=raw_path, sealed=sealed, directives=read_directives(query))

    async def fetch_playlist(self, asked: AskedPlaylist, viewer: Address) -> bytes:
        """Return a session's playlist as it stands now, or refuse."""
        sealed, directives = asked.sealed, asked.directives
        is_blocking = not BLOCKING.isdisjoint(directives)
        if is_blocking and not self._state.playlists.offers_blocking(asked.path):
            is_blocking = False  # it would wait for seconds outside of the concurrency limit
            directives = {name: it for name, it in directives.items() if name not in BLOCKING}
        owner = format_viewer_network(viewer)
        async with AsyncExitStack() as places:
            if is_blocking:
                await places.enter_async_context(self._state.blocking_limit)
            else:
                places.enter_context(self.request("reload", sealed.session, viewer))
                await places.enter_async_context(self._state.limit)
            received = await self._cdn.fetch_playlist(
                add_directives(sealed.url, directives), is_blocking=is_blocking
            )
            return await self._hand_on(
                await self._checked(received, owner),
                received,
                Seal(sealed.key, sealed.session, owner),
                imported=sealed.variables,
                path=asked.path,
            )

    def find_bytes(self, raw_path: str, query: Sequence[tuple[str, str]]) -> SealedBytes:
        """Return what a sealed path of bytes stands for, or refuse."""
        sealed = open_bytes(raw_path, self._sessions.keys)
        read_directives(query)
        self._cdn.allow(sealed.url)
        return sealed

    def _wrapped(self, url: str, key: SealKey, session: Session) -> bytes:
        if session.limits:
            raise Refusal(
                Reason.FORMAT_UNAVAILABLE,
                "without a Multivariant Playlist, max_height and max_bandwidth cannot be checked",
            )
        return WRAPPED.format(path=Sealer(key, session).playlist_path(url, {})).encode()

    async def _checked(self, received: ReceivedPlaylist, owner: str) -> Report:
        report = await self._checking.check(received, owner=owner)
        if not report.is_playlist:
            raise Refusal(Reason.PLATFORM_BAD_RESPONSE, "CDN: the response is not a playlist")
        if not report.is_checked:
            why = next(it.message for it in report.findings if it.rule == "excess")
            raise Refusal(Reason.PLAYLIST_INVALID, why)
        if report.unplayable:
            raise Refusal(Reason.PLAYLIST_INVALID, ", ".join(report.unplayable))
        return report

    async def _hand_on(
        self,
        report: Report,
        received: ReceivedPlaylist,
        seal: Seal,
        *,
        imported: Mapping[str, str] | None = None,
        path: str = "",
    ) -> bytes:
        session = seal.session
        self._state.playlists.track_blocking(path, report.text)

        def hand_on() -> bytes:
            text = report.text
            if session.limits:
                text, left = drop_variants(text, session.limits)
                if report.kind == "multivariant" and not left:
                    raise Refusal(Reason.FORMAT_UNAVAILABLE, NO_VARIANT_LEFT)
            is_fixed = report.kind == "multivariant" or self._state.playlists.is_fixed(path, text)
            return seal_uris(
                text,
                base=received.url,
                sealer=Sealer(seal.key, session),
                imported=imported or {},
                allow=self._cdn.allow,
                is_fixed=is_fixed,
            ).encode(errors="surrogateescape")

        return await self._checking.thread.run(len(received.body), hand_on, owner=seal.owner)
