"""The account's access token, as this instance holds it: there before anybody has to wait."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial

from proxy.adapters.clock import Clock
from proxy.adapters.logs import Logger
from proxy.adapters.metrics import Metrics
from proxy.domain.reasons import Reason, Refusal
from proxy.edge.fleet_token import NOTHING, FleetToken, HeldToken
from proxy.edge.health import Health
from proxy.edge.single_flight import SingleFlight

RENEW_AT = 0.8  # of its life: of ten hours, two are left to ride out a token endpoint that is down
LAST_SECONDS = 1.0  # in which a token is not handed out any more: it would lapse on its way
LAST_SHARE = 0.1  # … or, where it lives for seconds only, this much of its life
SHORTEST_LIFE = 2.0  # assumed for any token, so that one that lapses at once is no busy loop
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
        return self.fetched_at + self.expires_in - min(LAST_SECONDS, self.expires_in * LAST_SHARE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A fetch that failed, and until when it answers for the next (monotonic clock)."""

    until: float
    reason: Reason
    detail: str


class AccessTokens:
    """Keeps the access token: fetched once under any concurrency, renewed ahead of its expiry."""

    def __init__(
        self,
        fleet: FleetToken,
        *,
        clock: Clock,
        metrics: Metrics,
        health: Health,
        log: Logger,
        fetch_timeout: float,
    ) -> None:
        self._fleet = fleet
        self._clock = clock
        self._metrics = metrics
        self._health = health
        self._log = log
        self._fetch_timeout = fetch_timeout
        self._fetches: SingleFlight[None, str] = SingleFlight()
        self._held: Held | None = None
        self._failure: Failure | None = None

    async def current(self) -> str:
        """Return a token that should do, or refuse as the token endpoint did."""
        if self._held is not None and self._clock.monotonic() < self._held.last_use:
            return self._held.value
        return await self._fetched()

    async def replace(self, refused: str, refusal: Refusal) -> str:
        """Return another token than the one that Dailymotion refused.

        The refused one stays in use until there is another: it may be good for other videos, and
        the token endpoint may be down.

        Raises:
            Refusal: `refusal` itself where the token had just replaced a refused one: the next
                would fare no better, and the token endpoint is not to be hammered.
        """
        if self._held is None or self._held.value != refused:
            return await self.current()
        age = self._clock.monotonic() - self._held.fetched_at
        if self._held.replaces_refused and age < REFUSAL_SECONDS:
            raise refusal
        return await self._fetched(replaces_refused=True)

    async def keep_fresh(self) -> None:
        """Fetch the first token, and every next one ahead of time, for ever."""
        failures = 0
        while True:
            if (wait := self._until_renewal()) > 0:
                await self._clock.sleep(min(wait, LONGEST_SLEEP))
                continue
            if await self._is_fetched():
                failures = 0
                continue
            await self._clock.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
            failures += 1

    async def close(self) -> None:
        """Give up a fetch under way, as far as its grant lets us."""
        await self._fetches.close()
        await self._fleet.close()

    async def _is_fetched(self) -> bool:
        """Fetch, and say whether that worked; whatever happens, the keeper lives on."""
        try:
            await self._fetches.join(None, self._fetch)
        except Refusal:
            return False
        except Exception:  # noqa: BLE001  # a bug: it must not end the renewals
            self._log.exception("internal", task="keep_fresh")
            return False
        return True

    def _until_renewal(self) -> float:
        return 0.0 if self._held is None else self._held.renew_at - self._clock.monotonic()

    async def _fetched(self, *, replaces_refused: bool = False) -> str:
        failure = self._failure
        if failure is not None and self._clock.monotonic() < failure.until:
            # A new one each time: an exception raised again drags every earlier trace along.
            raise Refusal(failure.reason, failure.detail)
        return await self._fetches.join(
            None, partial(self._fetch, replaces_refused=replaces_refused)
        )

    async def _fetch(self, *, replaces_refused: bool = False) -> str:
        deadline = self._clock.monotonic() + self._fetch_timeout
        try:
            async with asyncio.timeout(self._fetch_timeout):
                held = self._given_up(was_refused=replaces_refused)
                token = await self._fleet.fetch(held, deadline=deadline)
        except TimeoutError:
            raise self._failed(Refusal(Reason.PLATFORM_TIMEOUT, "token: out of time")) from None
        except Refusal as refusal:
            raise self._failed(refusal) from None
        self._held = Held(
            value=token.value,
            fetched_at=self._clock.monotonic(),
            expires_in=max(token.expires_in, SHORTEST_LIFE),
            replaces_refused=replaces_refused,
        )
        self._failure = None
        self._health.has_access_token = True
        self._health.note_success("token")
        now = self._clock.now()
        self._metrics.access_token_expiry.set(now + token.expires_in)
        self._metrics.access_token_renewal.set(now + self._until_renewal())
        return token.value

    def _given_up(self, *, was_refused: bool) -> HeldToken:
        if (held := self._held) is None:
            return NOTHING
        left = held.fetched_at + held.expires_in - self._clock.monotonic()
        return HeldToken(value=held.value, expires_in=0.0 if was_refused else left)

    def _failed(self, refusal: Refusal) -> Refusal:
        self._failure = Failure(
            until=self._clock.monotonic() + FAILURE_SECONDS,
            reason=refusal.reason,
            detail=refusal.detail,
        )
        self._health.note_refusal("token", refusal)
        return refusal
