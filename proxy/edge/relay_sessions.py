"""Begin relay sessions, admit their requests, and limit how many are concurrent."""

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
LIMITS_NEED_RELAYING = (
    "This link limits the picture height or the bandwidth, which requires relaying, and this "
    "service does not relay. Request a link without these limits."
)


class RelaySessions:
    """Begins and admits sessions. Stateless: the sealed paths carry the session."""

    def __init__(self, settings: Settings, revocations: Revocations, clock: Clock) -> None:
        self.keys = SealKeys(settings.get_seal_secrets())
        self._session_max = settings.relay.session_max
        self._leeway = settings.tokens.leeway
        self._revocations = revocations
        self._clock = clock

    def begin(self, play: PlayRequest, claims: Claims) -> tuple[SealKey, Session]:
        """Return a new session and the key that seals it. Raises Refusal without `relay.keys`."""
        if (key := self.keys.newest) is None:
            raise Refusal(Reason.TOKEN_FORMAT, RELAYING_DISABLED, message=LIMITS_NEED_RELAYING)
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
        """Raise Refusal if the session has expired, is revoked, or belongs to another network."""
        now = self._clock.now()
        session.check(viewer, now=now, max_duration=self._session_max, leeway=self._leeway)
        self._revocations.check(session.video, session)


# "reload": the edge fetches and rewrites a playlist. "playlist": until that response is sent.
RelayRequestKind = Literal["reload", "playlist", "bytes"]

# Players have two or three playlist requests and up to six segment requests in flight. Viewers who
# start playback with the same token, in the same second and network, count as one session.
MAX_PER_SESSION: dict[RelayRequestKind, int] = {"reload": 32, "playlist": 32, "bytes": 64}
# Every play begins a new session, so networks are limited too: to half of the places for blocking
# reloads, and half of the connections to one CDN host.
MAX_PER_NETWORK: dict[RelayRequestKind, int] = {"playlist": 500, "bytes": 512}
Counted = tuple[RelayRequestKind, str]  # a kind of request with the name of a session or network
Counts = dict[Counted, int]


class SessionLimits:
    """Limits the requests in flight per session and per network."""

    def __init__(self, *, places: int) -> None:
        """Limit each network to half of `places`: the reloads that can run or queue at once."""
        self._max_per_network = {**MAX_PER_NETWORK, "reload": max(1, places // 2)}
        self._in_flight: Counts = {}

    def request(self, kind: RelayRequestKind, session: Session, viewer: Address) -> "InFlight":
        """Return a context during which a request counts as in flight.

        Raises:
            Refusal: `rate-limited`, on entering the context, if too many requests are in flight.
        """
        network = format_viewer_network(viewer)
        return InFlight(
            self._in_flight,
            ((kind, session.name), MAX_PER_SESSION[kind], "session"),
            ((kind, network), self._max_per_network[kind], "network"),
        )


class InFlight:
    """A context during which a request counts as in flight."""

    def __init__(self, counts: Counts, *limits: tuple[Counted, int, str]) -> None:
        """Count the request in `counts`; `limits` has the key, maximum and scope of each count."""
        self._counts = counts
        self._limits = limits

    def __enter__(self) -> None:
        for key, limit, scope in self._limits:
            if self._counts.get(key, 0) >= limit:
                detail = f"this {scope} already has {limit} {key[0]} requests in flight"
                raise Refusal(Reason.RATE_LIMITED, detail, retry_after=1)
        for key, _, _ in self._limits:
            self._counts[key] = self._counts.get(key, 0) + 1

    def __exit__(self, *_error: object) -> None:
        for key, _, _ in self._limits:
            self._counts[key] -= 1
            if not self._counts[key]:
                del self._counts[key]
