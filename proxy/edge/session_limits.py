"""How many requests of one relay session may be under way, so that no session starves others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from proxy.domain.reasons import Reason, Refusal
from proxy.domain.seal import Session

Kind = Literal["playlist", "bytes"]

# Players have two or three playlists and up to six segments under way. Viewers who started one
# token's playback in the same second and network count as one session.
MAX_UNDER_WAY: dict[Kind, int] = {"playlist": 32, "bytes": 64}


class SessionLimits:
    """Counts the requests of each session that are under way; keeps nothing of the others."""

    def __init__(self) -> None:
        self._under_way: Counter[tuple[Kind, Session]] = Counter()

    @contextmanager
    def request(self, kind: Kind, session: Session) -> Iterator[None]:
        """Count a request while it is under way, or refuse it with `rate-limited`."""
        key = kind, session
        if self._under_way[key] >= MAX_UNDER_WAY[kind]:
            detail = f"{MAX_UNDER_WAY[kind]} {kind} requests of this session are under way"
            raise Refusal(Reason.RATE_LIMITED, detail, retry_after=1)
        self._under_way[key] += 1
        try:
            yield
        finally:
            self._under_way[key] -= 1
            if not self._under_way[key]:
                del self._under_way[key]
