"""The JWK Set that an issuer publishes (RFC 7517, 5), fetched from its URL."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from yarl import URL

from proxy.adapters.clock import Clock
from proxy.adapters.dailymotion.exchange import Exchange
from proxy.domain.reasons import Reason, Refusal


class PublishedKeys:
    """Fetches JWK Sets."""

    def __init__(self, exchange: Exchange, clock: Clock, *, timeout: float) -> None:
        self._exchange = exchange
        self._clock = clock
        self._timeout = timeout

    async def fetch(self, url: str) -> str:
        """Return a set's text, or refuse within the time; redirects are not followed."""
        deadline = self._clock.monotonic() + self._timeout
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._exchange.send("jwks", "GET", URL(url), deadline=deadline)
        except TimeoutError:
            raise Refusal(Reason.PLATFORM_TIMEOUT, "jwks: out of time") from None
        if answer.status != HTTPStatus.OK:
            raise Refusal(Reason.PLATFORM_BAD_ANSWER, f"jwks: HTTP {answer.status}")
        return answer.body.decode(errors="replace")
