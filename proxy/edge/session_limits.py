"""How many requests of one relay session, and one network, may be under way at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from proxy.domain.client_ip import Network
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.seal import Session

Kind = Literal["playlist", "bytes"]

# Players have two or three playlists and up to six segments under way. Viewers who started one
# token's playback in the same second and network count as one session.
MAX_OF_SESSION: dict[Kind, int] = {"playlist": 32, "bytes": 64}
# A viewer begins a session with each play. Half of the places that there are for blocking reloads
# and for connections to one host of the CDN are left to other networks.
MAX_OF_NETWORK: dict[Kind, int] = {"playlist": 500, "bytes": 512}


class SessionLimits:
    """Counts the requests that are under way; keeps nothing of the others."""

    def __init__(self) -> None:
        self._under_way: Counter[tuple[Kind, Session | Network]] = Counter()

    @contextmanager
    def request(self, kind: Kind, session: Session) -> Iterator[None]:
        """Count a request while it is under way, or refuse it with `rate-limited`."""
        self._check(kind, session, MAX_OF_SESSION[kind], "session")
        self._check(kind, session.network, MAX_OF_NETWORK[kind], "network")
        keys = (kind, session), (kind, session.network)
        self._under_way.update(keys)
        try:
            yield
        finally:
            self._under_way.subtract(keys)
            for key in keys:
                if not self._under_way[key]:
                    del self._under_way[key]

    def _check(self, kind: Kind, owner: Session | Network, most: int, word: str) -> None:
        if self._under_way[kind, owner] >= most:
            detail = f"{most} {kind} requests of this {word} are under way"
            raise Refusal(Reason.RATE_LIMITED, detail, retry_after=1)
