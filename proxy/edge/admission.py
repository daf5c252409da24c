"""Who may play: from the token that a request carries to the claims that hold for this play."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache, partial

from proxy.adapters.clock import Clock
from proxy.domain.access import Play, TokenPolicy, authorize
from proxy.domain.client_ip import Address
from proxy.domain.formats import Format
from proxy.domain.tokens.claims import Claims
from proxy.domain.tokens.compact import the_one_token
from proxy.domain.tokens.keyring import Keyring
from proxy.domain.tokens.verify import verify
from proxy.domain.video import VideoId

VERIFIED_TOKENS = 10_000  # remembered, at up to 4 kB each; players show one token many times


class Admission:
    """Admits plays under one keyring and one policy.

    A verified token is remembered for as long as this keyring lives; its times and what it covers
    are checked every time.
    """

    def __init__(self, keyring: Keyring, policy: TokenPolicy, clock: Clock) -> None:
        self._verify = lru_cache(VERIFIED_TOKENS)(partial(verify, keyring=keyring))
        self._policy = policy
        self._clock = clock

    def admit(
        self,
        tokens: Iterable[str],
        *,
        video: VideoId,
        formats: Sequence[Format],
        viewer: Address,
    ) -> Claims:
        """Return the claims of the request's one token if they cover all of this, or refuse."""
        claims = self._verify(the_one_token(tokens))
        now = self._clock.now()
        asked: Sequence[Format | None] = formats or [None]
        for fmt in asked:
            authorize(claims, Play(now=now, video=video, format=fmt, viewer=viewer), self._policy)
        return claims
