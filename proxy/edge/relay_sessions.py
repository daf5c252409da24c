"""Relay sessions: whose playback a sealed path belongs to, and whether that is still allowed."""

from proxy.adapters.clock import Clock
from proxy.domain.client_ip import Address
from proxy.domain.play_request import PlayRequest
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.seal import SealKey, SealKeys, Session, network_of
from proxy.domain.tokens.claims import Claims
from proxy.edge.revocations import Revocations
from proxy.settings import Settings

CANNOT_RELAY = "max_height and max_bandwidth require relaying; relay.keys is not set"


class RelaySessions:
    """Begins sessions and admits their requests; the sessions themselves are kept in the seals."""

    def __init__(self, settings: Settings, revocations: Revocations, clock: Clock) -> None:
        self.keys = SealKeys(settings.seal_secrets())
        self._session_max = settings.relay.session_max
        self._leeway = settings.tokens.leeway
        self._revocations = revocations
        self._clock = clock

    def begin(self, play: PlayRequest, claims: Claims) -> tuple[SealKey, Session]:
        """Return a new session and the key that seals it, or refuse."""
        if (key := self.keys.newest) is None:
            raise Refusal(Reason.TOKEN_FORMAT, CANNOT_RELAY)
        return key, Session(
            video=play.video,
            network=claims.network or network_of(play.viewer),
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
        session.check(viewer, now=now, longest=self._session_max, leeway=self._leeway)
        self._revocations.check(session.video, session)
