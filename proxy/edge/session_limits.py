"""How many requests of one relay session, and of one network, may be under way at once."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from proxy.domain.client_ip import Address
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.seal import Session, network_name

# "reload" is a playlist that is fetched and read, "playlist" one until it is sent.
Kind = Literal["reload", "playlist", "bytes"]

# Players have two or three playlists and up to six segments under way. Viewers who started one
# token's playback in the same second and network count as one session.
MAX_OF_SESSION: dict[Kind, int] = {"reload": 32, "playlist": 32, "bytes": 64}
# A viewer begins a session with each play, so that networks have their share as well: half of the
# places for blocking reloads, and half of the connections to one host of the CDN.
MAX_OF_NETWORK: dict[Kind, int] = {"playlist": 500, "bytes": 512}


class SessionLimits:
    """Counts the requests that are under way; keeps nothing of the others."""

    def __init__(self, *, places: int) -> None:
        """Leave half of so many places for reloads to other networks."""
        self._of_network = {**MAX_OF_NETWORK, "reload": max(1, places // 2)}
        self._under_way: Counter[tuple[Kind, Session | str]] = Counter()

    @contextmanager
    def request(self, kind: Kind, session: Session, viewer: Address) -> Iterator[None]:
        """Count a request while it is under way, or refuse it with `rate-limited`."""
        network = network_name(viewer)
        self._check(kind, session, MAX_OF_SESSION[kind], "session")
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

    def _check(self, kind: Kind, owner: Session | str, most: int, word: str) -> None:
        if self._under_way[kind, owner] >= most:
            detail = f"{most} {kind} requests of this {word} are under way"
            raise Refusal(Reason.RATE_LIMITED, detail, retry_after=1)
