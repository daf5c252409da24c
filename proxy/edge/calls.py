"""Calls to Dailymotion in the account's name: each within its time, and with a token that does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from proxy.adapters.clock import Clock
from proxy.adapters.dailymotion.answers import AccessTokenRefused
from proxy.domain.reasons import Reason, Refusal
from proxy.edge.access_tokens import AccessTokens
from proxy.edge.gate import Gate
from proxy.edge.health import Health

T = TypeVar("T")

# What is given an access token and a deadline on the monotonic clock.
Call = Callable[[str, float], Awaitable[T]]


class Calls:
    """Makes calls with the access token at hand; where it is refused, once more with a new one."""

    def __init__(
        self,
        access_tokens: AccessTokens,
        gate: Gate,
        *,
        clock: Clock,
        health: Health,
        timeout: float,
    ) -> None:
        self._access_tokens = access_tokens
        self._gate = gate
        self._clock = clock
        self._health = health
        self._timeout = timeout

    async def make(self, call: Call[T]) -> T:
        """Return what the call returns, or refuse within `platform.play_timeout`."""
        deadline = self._clock.monotonic() + self._timeout
        try:
            async with asyncio.timeout(self._timeout), self._gate:
                return await self._make(call, deadline)
        except TimeoutError:
            refusal = Refusal(Reason.PLATFORM_TIMEOUT, "video: out of time")
            self._health.note_refusal("video", refusal)
            raise refusal from None

    async def _make(self, call: Call[T], deadline: float) -> T:
        token = await self._access_tokens.current()
        try:
            return await self._noted(call, token, deadline)
        except AccessTokenRefused as refusal:
            token = await self._access_tokens.replace(token, refusal)
        return await self._noted(call, token, deadline)

    async def _noted(self, call: Call[T], token: str, deadline: float) -> T:
        try:
            result = await call(token, deadline)
        except Refusal as refusal:
            self._health.note_refusal("video", refusal)
            raise
        self._health.note_success("video")
        return result
