"""The JWK Set that an issuer publishes (RFC 7517, 5), fetched from its URL."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from yarl import URL

from proxy.adapters.clock import Clock
from proxy.adapters.errors import UpstreamError
from proxy.adapters.http_client import HttpClient


class PublishedKeys:
    """Fetches JWK Sets."""

    def __init__(self, http: HttpClient, clock: Clock, *, timeout: float) -> None:
        self._http = http
        self._clock = clock
        self._timeout = timeout

    async def fetch(self, url: str) -> str:
        """Return a set's text; redirects are not followed.

        Raises:
            UpstreamError: it cannot be had within the time.
        """
        deadline = self._clock.monotonic() + self._timeout
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._http.send("jwks", "GET", URL(url), deadline=deadline)
        except TimeoutError:
            raise UpstreamError("timeout", "jwks: out of time") from None
        if answer.status != HTTPStatus.OK:
            raise UpstreamError("bad-answer", f"jwks: HTTP {answer.status}")
        return answer.body.decode(errors="replace")
