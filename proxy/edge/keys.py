"""Tokens verified with the keys of the moment, ours and those that issuers publish."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from proxy.domain.caches import cached_up_to
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.tokens.claims import Claims
from proxy.domain.tokens.compact import read_compact
from proxy.domain.tokens.keyring import Key, Keyring
from proxy.domain.tokens.verify import claimed_issuer, verify
from proxy.edge.issuers import Issuers

CACHED_TOKENS = 10_000  # that were verified; players send one token many times
MAX_CACHED_TOKEN = 1500  # characters; real tokens have 300 to 1,000


class Keys:
    """Verifies, and remembers what was verified for as long as the keys stay the same."""

    def __init__(
        self, own: Sequence[Key], issuers: Issuers, videos: Mapping[str, re.Pattern[str]]
    ) -> None:
        self._own = tuple(own)
        self._videos = videos
        self._issuers = issuers
        self._version = issuers.version
        self._verify = self._with_these_keys()

    async def verify(self, token: str) -> Claims:
        """Return a token's claims, or refuse; an issuer may be asked for a key that is new."""
        try:
            return self._up_to_date()(token)
        except Refusal as refusal:
            if refusal.reason is not Reason.TOKEN_KEY_UNKNOWN:
                raise
            issuer = claimed_issuer(read_compact(token))
            if not await self._issuers.learn(issuer):
                raise self._told(refusal, issuer) from None
        return self._up_to_date()(token)

    def _told(self, refusal: Refusal, issuer: str | None) -> Refusal:
        known = self._issuers.published.get(issuer or "")
        trouble = f"; they cannot be had now: {known.trouble}" if known and known.trouble else ""
        return Refusal(refusal.reason, f"{refusal.detail}{trouble}")

    def _up_to_date(self) -> Callable[[str], Claims]:
        if self._version != self._issuers.version:
            self._version = self._issuers.version
            self._verify = self._with_these_keys()
        return self._verify

    def _with_these_keys(self) -> Callable[[str], Claims]:
        published = {issuer: it.keys for issuer, it in self._issuers.published.items()}
        keyring = Keyring(self._own, published, self._videos)
        return cached_up_to(
            MAX_CACHED_TOKEN,
            entries=CACHED_TOKENS,
            function=partial(verify, keyring=keyring),
        )
