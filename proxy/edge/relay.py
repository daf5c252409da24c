"""Playlists on behalf of viewers whose address the CDN would refuse, or whom we limit.

The edge resolves for its own address, fetches, checks, and hands on playlists in which every child
is a sealed path of ours. The session is carried by the seals, and kept nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack
from dataclasses import dataclass

from proxy.adapters.clock import Clock
from proxy.adapters.dailymotion.cdn import Cdn, Received
from proxy.domain.client_ip import Address
from proxy.domain.formats import ANY_FIELDS, Choice, as_download, choose
from proxy.domain.playlist.check import Report
from proxy.domain.playlist.directives import BLOCKING, read_directives, with_directives
from proxy.domain.playlist.relayed import relayed
from proxy.domain.playlist.variants import within
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.seal import SealKey, SealKeys, Session, network_name, network_of
from proxy.domain.sealed_paths import SealedBytes, SealedPlaylist, Sealer, open_bytes, open_playlist
from proxy.domain.tokens.claims import Claims
from proxy.domain.video import VideoId
from proxy.edge.blocking_playlists import BlockingPlaylists
from proxy.edge.checking import Checking
from proxy.edge.gate import Gate
from proxy.edge.growing import Growing
from proxy.edge.revocations import Revocations
from proxy.edge.session_limits import Kind, SessionLimits
from proxy.edge.streams import Streams

CANNOT_RELAY = "max_height and max_bandwidth require relaying; relay.keys is not set"

# Where the stream URL leads to a Media Playlist, players would come back to /play for each reload,
# and each time find another session. Behind this they come back to the playlist.
WRAPPED = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1000000\n{path}\n"


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


class Relay:
    """Opens sessions, and answers for the sealed paths of theirs."""

    def __init__(
        self,
        streams: Streams,
        cdn: Cdn,
        checking: Checking,
        keys: SealKeys,
        revocations: Revocations,
        *,
        growing: Growing,
        blocking: BlockingPlaylists,
        sessions: SessionLimits,
        gate: Gate,
        blocking_gate: Gate,
        clock: Clock,
        session_max: float,
        leeway: float,
    ) -> None:
        self._streams = streams
        self._cdn = cdn
        self._checking = checking
        self._keys = keys
        self._revocations = revocations
        self._growing = growing
        self._blocking = blocking
        self._sessions = sessions
        self._gate = gate
        self._blocking_gate = blocking_gate
        self._clock = clock
        self._session_max = session_max
        self._leeway = leeway

    async def begin(self, video: VideoId, viewer: Address, claims: Claims) -> RelayedPlaylist:
        """Return the first playlist of a new session, or refuse."""
        key, session = self._begin(video, viewer, claims)
        url = await self._streams.resolve_own(video, viewer)
        owner = network_name(viewer)
        with self._sessions.request("reload", session, viewer):
            async with self._gate:
                received = await self._cdn.fetch_playlist(url)
                report = await self._checked(received, owner)
                if report.kind == "media":
                    return RelayedPlaylist(body=self._wrapped(url, key, session))
                body = await self._hand_on(report, received, key, session, owner=owner)
                return RelayedPlaylist(body=body)

    async def begin_file(
        self, video: VideoId, viewer: Address, claims: Claims, choice: Choice
    ) -> str:
        """Return the path of a video's MP4 in a new session, or refuse."""
        key, session = self._begin(video, viewer, claims)
        if session.limits.max_bandwidth is not None:
            raise Refusal(Reason.FORMAT_UNAVAILABLE, "an MP4 does not say its bandwidth")
        # HLS too: a video without any MP4 is not without any stream.
        urls = await self._streams.resolve_own_fields(video, viewer, ANY_FIELDS)
        url = choose(urls, choice, max_height=session.limits.max_height)
        return Sealer(key, session).file_path(as_download(url) if choice.is_download else url)

    def find_playlist(self, raw_path: str, query: Sequence[tuple[str, str]]) -> AskedPlaylist:
        """Return what a sealed path of a playlist stands for, or refuse."""
        sealed = open_playlist(raw_path, self._keys)
        return AskedPlaylist(path=raw_path, sealed=sealed, directives=read_directives(query))

    async def fetch_playlist(self, asked: AskedPlaylist, viewer: Address) -> bytes:
        """Return a session's playlist as it stands now, or refuse."""
        sealed, directives = asked.sealed, asked.directives
        is_blocking = not BLOCKING.isdisjoint(directives)
        if is_blocking and asked.path not in self._blocking:
            is_blocking = False  # it would wait for seconds outside of the concurrency limit
            directives = {name: it for name, it in directives.items() if name not in BLOCKING}
        owner = network_name(viewer)
        async with AsyncExitStack() as places:
            if is_blocking:
                await places.enter_async_context(self._blocking_gate)
            else:
                places.enter_context(self._sessions.request("reload", sealed.session, viewer))
                await places.enter_async_context(self._gate)
            received = await self._cdn.fetch_playlist(
                with_directives(sealed.url, directives), is_blocking=is_blocking
            )
            return await self._hand_on(
                await self._checked(received, owner),
                received,
                sealed.key,
                sealed.session,
                imported=sealed.variables,
                path=asked.path,
                owner=owner,
            )

    def find_bytes(self, raw_path: str, query: Sequence[tuple[str, str]]) -> SealedBytes:
        """Return what a sealed path of bytes stands for, or refuse."""
        sealed = open_bytes(raw_path, self._keys)
        read_directives(query)
        self._cdn.allow(sealed.url)
        return sealed

    def request(
        self, kind: Kind, session: Session, viewer: Address
    ) -> AbstractContextManager[None]:
        """Count a request until its answer is sent, or refuse it with `rate-limited`."""
        return self._sessions.request(kind, session, viewer)

    def admit(self, session: Session, viewer: Address) -> None:
        """Refuse a viewer outside the session's network, and a session that is not current."""
        now = self._clock.now()
        session.check(viewer, now=now, longest=self._session_max, leeway=self._leeway)
        self._revocations.check(
            video=session.video,
            jti=session.jti,
            subject=session.subject,
            issuer=session.issuer,
            issued_at=session.issued_at,
        )

    def _begin(self, video: VideoId, viewer: Address, claims: Claims) -> tuple[SealKey, Session]:
        if (key := self._keys.newest) is None:
            raise Refusal(Reason.TOKEN_FORMAT, CANNOT_RELAY)
        return key, Session(
            video=video,
            network=claims.network or network_of(viewer),
            started_at=int(self._clock.now()),
            jti=claims.jti,
            subject=claims.subject,
            issuer=claims.issuer,
            issued_at=claims.issued_at,
            limits=claims.limits,
        )

    def _wrapped(self, url: str, key: SealKey, session: Session) -> bytes:
        if session.limits:
            raise Refusal(Reason.FORMAT_UNAVAILABLE, "one variant, which does not say its size")
        return WRAPPED.format(path=Sealer(key, session).playlist_path(url, {})).encode()

    async def _checked(self, received: Received, owner: str) -> Report:
        report = await self._checking.check(received, owner=owner)
        if not report.is_playlist:
            raise Refusal(Reason.PLATFORM_BAD_ANSWER, "CDN: what came is no playlist")
        if not report.is_checked:
            why = next(it.message for it in report.findings if it.rule == "excess")
            raise Refusal(Reason.PLAYLIST_INVALID, why)
        if report.unplayable:
            raise Refusal(Reason.PLAYLIST_INVALID, ", ".join(report.unplayable))
        return report

    async def _hand_on(
        self,
        report: Report,
        received: Received,
        key: SealKey,
        session: Session,
        *,
        imported: Mapping[str, str] | None = None,
        path: str = "",
        owner: str,
    ) -> bytes:
        self._blocking.note(path, report.text)

        def hand_on() -> bytes:
            text = report.text
            if session.limits:
                text, left = within(text, session.limits)
                if report.kind == "multivariant" and not left:
                    raise Refusal(Reason.FORMAT_UNAVAILABLE, "every variant is beyond the limits")
            is_fixed = report.kind == "multivariant" or self._growing.is_fixed(text, path)
            return relayed(
                text,
                base=received.url,
                sealer=Sealer(key, session),
                imported=imported or {},
                allow=self._cdn.allow,
                is_fixed=is_fixed,
            ).encode(errors="surrogateescape")

        return await self._checking.thread.run(len(received.body), hand_on, owner=owner)
