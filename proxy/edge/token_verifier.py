"""Verify tokens with the keys in the settings and the keys that issuers publish."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from proxy.domain.caches import cache_short_texts
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.tokens.claims import Claims, read_claimed_issuer, verify
from proxy.domain.tokens.compact import read_compact
from proxy.domain.tokens.keyring import Keyring, SigningKey
from proxy.edge.jwks_cache import JwksCache

MAX_CACHED_TOKENS = 10_000  # verified tokens; players send the same token many times
MAX_CACHED_TOKEN_LENGTH = 1500  # characters; real tokens have 300 to 1,000


class TokenVerifier:
    """Verifies tokens; caches the claims of verified ones until a key changes."""

    def __init__(
        self, own: Sequence[SigningKey], issuers: JwksCache, videos: Mapping[str, re.Pattern[str]]
    ) -> None:
        self._own = tuple(own)
        self._videos = videos
        self._issuers = issuers
        self._version = issuers.version
        self._verify = self._build_verify()

    async def verify(self, token: str) -> Claims:
        """Return a token's claims. Raises Refusal if the token is invalid.

        If the key is unknown, the issuer's keys are fetched again.
        """
        try:
            return self._get_verify()(token)
        except Refusal as refusal:
            if refusal.reason is not Reason.TOKEN_KEY_UNKNOWN:
                raise
            issuer = read_claimed_issuer(read_compact(token))
            if not await self._issuers.fetch_unknown_key(issuer):
                raise self._add_issuer_error(refusal, issuer) from None
        return self._get_verify()(token)

    def _add_issuer_error(self, refusal: Refusal, issuer: str | None) -> Refusal:
        cached = self._issuers.published.get(issuer or "")
        suffix = f"; fetching these keys failed: {cached.error}" if cached and cached.error else ""
        return Refusal(refusal.reason, f"{refusal.detail}{suffix}")

    def _get_verify(self) -> Callable[[str], Claims]:
        if self._version != self._issuers.version:
            self._version = self._issuers.version
            self._verify = self._build_verify()
        return self._verify

    def _build_verify(self) -> Callable[[str], Claims]:
        published = {issuer: cached.keys for issuer, cached in self._issuers.published.items()}
        keyring = Keyring(self._own, published, self._videos)
        return cache_short_texts(
            MAX_CACHED_TOKEN_LENGTH,
            max_entries=MAX_CACHED_TOKENS,
            function=partial(verify, keyring=keyring),
        )
