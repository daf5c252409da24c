"""The account's access token: one for the process, there before anybody has to wait for it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from proxy.adapters.clock import Clock
from proxy.adapters.dailymotion.legacy import LegacyApi
from proxy.adapters.metrics import Metrics
from proxy.domain.reasons import Reason, Refusal
from proxy.edge.health import Health
from proxy.edge.single_flight import SingleFlight

RENEW_AT = 0.8  # of its life: of ten hours, two are left to ride out a token endpoint that is down
LAST_SECONDS = 1.0  # in which a token is not handed out any more: it would lapse on its way
RETRY_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)  # between attempts in the background
LONGEST_SLEEP = 60.0  # then look again: a play may have put another token in place meanwhile
REFUSAL_SECONDS = 5.0  # in which a token that replaced a refused one is not replaced itself
FAILURE_SECONDS = 1.0  # in which a failed fetch answers for the next, so that plays do not hammer


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The token in use; times in seconds on the monotonic clock."""

    value: str
    fetched_at: float
    expires_in: float
    replaces_refused: bool

    @property
    def renew_at(self) -> float:
        """When to fetch the next one."""
        return self.fetched_at + self.expires_in * RENEW_AT

    @property
    def last_use(self) -> float:
        """Until when it is handed out."""
        return self.fetched_at + self.expires_in - LAST_SECONDS


class AccessTokens:
    """Keeps the access token: fetched once under any concurrency, renewed ahead of its expiry."""

    def __init__(
        self,
        api: LegacyApi,
        *,
        clock: Clock,
        metrics: Metrics,
        health: Health,
        fetch_timeout: float,
    ) -> None:
        self._api = api
        self._clock = clock
        self._metrics = metrics
        self._health = health
        self._fetch_timeout = fetch_timeout
        self._fetches: SingleFlight[None, str] = SingleFlight()
        self._held: Held | None = None
        self._after_refusal = False
        self._failure: tuple[float, Refusal] | None = None

    async def current(self) -> str:
        """Return a token that should do, or refuse as the token endpoint did."""
        now = self._clock.monotonic()
        if self._held is not None and now < self._held.last_use:
            return self._held.value
        if self._failure is not None and now < self._failure[0]:
            raise self._failure[1]
        return await self._fetches.join(None, self._fetch)

    async def replace(self, refused: str, refusal: Refusal) -> str:
        """Return another token than the one that Dailymotion refused.

        Raises:
            Refusal: `refusal` itself where the token had just replaced a refused one: the next
                would fare no better, and the token endpoint is not to be hammered.
        """
        if self._held is not None and self._held.value == refused:
            age = self._clock.monotonic() - self._held.fetched_at
            if self._held.replaces_refused and age < REFUSAL_SECONDS:
                raise refusal
            self._held = None
            self._after_refusal = True
        return await self.current()

    async def keep_fresh(self) -> None:
        """Fetch the first token, and every next one ahead of time, for ever."""
        failures = 0
        while True:
            if (wait := self._until_renewal()) > 0:
                await self._clock.sleep(min(wait, LONGEST_SLEEP))
                continue
            try:
                await self._fetches.join(None, self._fetch)
            except Refusal:
                await self._clock.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
                failures += 1
            else:
                failures = 0

    async def close(self) -> None:
        """Give up a fetch under way."""
        await self._fetches.close()

    def _until_renewal(self) -> float:
        return 0.0 if self._held is None else self._held.renew_at - self._clock.monotonic()

    async def _fetch(self) -> str:
        deadline = self._clock.monotonic() + self._fetch_timeout
        try:
            async with asyncio.timeout(self._fetch_timeout):
                token = await self._api.fetch_access_token(deadline=deadline)
        except TimeoutError:
            raise self._failed(Refusal(Reason.PLATFORM_TIMEOUT, "token: out of time")) from None
        except Refusal as refusal:
            raise self._failed(refusal) from None
        self._held = Held(
            value=token.value,
            fetched_at=self._clock.monotonic(),
            expires_in=max(token.expires_in, 2 * LAST_SECONDS),
            replaces_refused=self._after_refusal,
        )
        self._after_refusal = False
        self._failure = None
        self._health.has_access_token = True
        self._health.note_success()
        self._metrics.access_token_expiry.set(self._clock.now() + token.expires_in)
        return token.value

    def _failed(self, refusal: Refusal) -> Refusal:
        self._failure = (self._clock.monotonic() + FAILURE_SECONDS, refusal)
        self._health.note_refusal(refusal)
        return refusal
