"""Relay sessions: begin and admit them, and limit their concurrent requests."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from proxy.adapters.clock import Clock
from proxy.domain.client_ip import Address, format_viewer_network, get_viewer_network
from proxy.domain.play_request import PlayRequest
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.seal import SealKey, SealKeys, Session
from proxy.domain.tokens.claims import Claims
from proxy.edge.revocations import Revocations
from proxy.settings import Settings

RELAYING_DISABLED = "max_height and max_bandwidth require relaying; relay.keys is not set"


class RelaySessions:
    """Begins sessions and admits their requests; the sessions themselves are kept in the seals."""

    def __init__(self, settings: Settings, revocations: Revocations, clock: Clock) -> None:
        self.keys = SealKeys(settings.get_seal_secrets())
        self._session_max = settings.relay.session_max
        self._leeway = settings.tokens.leeway
        self._revocations = revocations
        self._clock = clock

    def begin(self, play: PlayRequest, claims: Claims) -> tuple[SealKey, Session]:
        """Return a new session and the key that seals it, or refuse."""
        if (key := self.keys.newest) is None:
            raise Refusal(Reason.TOKEN_FORMAT, RELAYING_DISABLED)
        return key, Session(
            video=play.video,
            network=claims.network or get_viewer_network(play.viewer),
            started_at=int(self._clock.now()),
            jti=claims.jti,
            subject=claims.subject,
            issuer=claims.issuer,
            issued_at=claims.issued_at,
            limits=claims.limits,
        )

    def admit(self, session: Session, viewer: Address) -> None:
        """Refuse a viewer outside the session's network, and a session that is not current."""
        now = self._clock.now()
        session.check(viewer, now=now, max_duration=self._session_max, leeway=self._leeway)
        self._revocations.check(session.video, session)


# "reload" is a playlist that is fetched and read, "playlist" one until it is sent.
RelayRequestKind = Literal["reload", "playlist", "bytes"]

# Players have two or three playlists and up to six segments under way. Viewers who started one
# token's playback in the same second and network count as one session.
MAX_PER_SESSION: dict[RelayRequestKind, int] = {"reload": 32, "playlist": 32, "bytes": 64}
# A viewer begins a session with each play, so that networks have their share as well: half of the
# places for blocking reloads, and half of the connections to one host of the CDN.
MAX_PER_NETWORK: dict[RelayRequestKind, int] = {"playlist": 500, "bytes": 512}


class SessionLimits:
    """Counts the requests that are under way; keeps nothing of the others."""

    def __init__(self, *, places: int) -> None:
        """Leave half of so many places for reloads to other networks."""
        self._of_network = {**MAX_PER_NETWORK, "reload": max(1, places // 2)}
        self._under_way: Counter[tuple[RelayRequestKind, Session | str]] = Counter()

    @contextmanager
    def request(self, kind: RelayRequestKind, session: Session, viewer: Address) -> Iterator[None]:
        """Count a request while it is under way, or refuse it with `rate-limited`."""
        network = format_viewer_network(viewer)
        self._check(kind, session, MAX_PER_SESSION[kind], "session")
        self._check(kind, network, self._of_network[kind], "network")
        keys = (kind, session), (kind, network)
        self._under_way.update(keys)
        try:
            yield
        finally:
            self._under_way.subtract(keys)
            for key in keys:
                if not self._under_way[key]:
                    del self._under_way[key]

    def _check(self, kind: RelayRequestKind, owner: Session | str, most: int, word: str) -> None:
        if self._under_way[kind, owner] >= most:
            detail = f"{most} {kind} requests of this {word} are under way"
            raise Refusal(Reason.RATE_LIMITED, detail, retry_after=1)
