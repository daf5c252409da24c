"""Keeps this instance's access token, refreshed before it expires."""

import asyncio
from dataclasses import dataclass
from functools import partial

from proxy.adapters.concurrency import SingleFlight
from proxy.adapters.dailymotion.token_endpoint import AccessToken
from proxy.adapters.errors import StateError
from proxy.adapters.telemetry import Telemetry
from proxy.domain.reasons import Reason, Refusal
from proxy.edge.shared_access_token import SharedAccessToken

REFRESH_SHARE = (
    0.8  # of its life: of ten hours, two are left to ride out a token endpoint that is down
)
MIN_REMAINING_SECONDS = (
    1.0  # in which a token is not handed out any more: it would expire on its way
)
MIN_REMAINING_SHARE = 0.1  # … or, if it lives for seconds only, this much of its life
MIN_LIFETIME_SECONDS = (
    2.0  # assumed for any token, so that one that expires at once is no busy loop
)
RETRY_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)  # between attempts in the background
MAX_SLEEP_SECONDS = 60.0  # then look again: a play may have put another token in place meanwhile
REFUSAL_CACHE_SECONDS = 5.0  # in which a token that replaced a refused one is not replaced itself
FAILURE_CACHE_SECONDS = (
    1.0  # in which a failed fetch answers for the next, so that plays do not hammer
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedToken:
    """The token in use; times in seconds on the monotonic clock."""

    token: AccessToken
    refresh_at: float
    last_use: float
    kept_until: float  # whoever is refused with it before then is not served by another


class AccessTokenCache:
    """Keeps the access token: fetched once under any concurrency, refreshed before it expires."""

    def __init__(
        self, shared: SharedAccessToken, telemetry: Telemetry, *, fetch_timeout: float
    ) -> None:
        self._shared = shared
        self._telemetry = telemetry
        self._clock = telemetry.clock
        self._fetch_timeout = fetch_timeout
        self._fetches: SingleFlight[None, str] = SingleFlight()
        self._held: CachedToken | None = None
        self._failure: Refusal | None = None
        self._failed_until = float("-inf")  # monotonic: until then a failure answers for the next

    async def get_token(self) -> str:
        """Return a token that should do, or refuse as the token endpoint did."""
        if self._held is not None and self._clock.monotonic() < self._held.last_use:
            return self._held.token.value
        return await self._fetch_once()

    async def replace_token(self, refused: str, refusal: Refusal) -> str:
        """Return another token than the one that Dailymotion refused.

        The refused one stays in use until there is another: it may be good for other videos. If it
        has just replaced a refused one, `refusal` is raised: the next would fare no better, and
        the token endpoint is not to be hammered.
        """
        held = self._held
        if held is None or held.token.value != refused:
            return await self.get_token()
        if self._clock.monotonic() < held.kept_until:
            raise refusal
        return await self._fetch_once(replaces_refused=True)

    async def keep_fresh(self) -> None:
        """Fetch the first token, and every next one ahead of time, for ever."""
        failures = 0
        while True:
            if (wait := self._compute_wait()) > 0:
                await self._clock.sleep(min(wait, MAX_SLEEP_SECONDS))
                continue
            if await self._try_refresh():
                failures = 0
                continue
            await self._clock.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
            failures += 1

    async def close(self) -> None:
        """Give up a fetch under way, as far as its grant lets us."""
        await self._fetches.close()
        await self._shared.close()

    async def _try_refresh(self) -> bool:
        """Fetch, and say whether that worked; whatever happens, the keeper lives on."""
        try:
            await self._fetches.join(None, self._fetch)
        except Refusal:
            return False
        except Exception:  # a bug: it must not end the renewals
            self._telemetry.log.exception("internal", task="keep_fresh")
            return False
        return True

    def _compute_wait(self) -> float:
        return 0.0 if self._held is None else self._held.refresh_at - self._clock.monotonic()

    async def _fetch_once(self, *, replaces_refused: bool = False) -> str:
        if self._failure is not None and self._clock.monotonic() < self._failed_until:
            raise self._failure.copy()
        fetch = partial(self._fetch, replaces_refused=replaces_refused)
        return await self._fetches.join(None, fetch)

    async def _fetch(self, *, replaces_refused: bool = False) -> str:
        deadline = self._clock.monotonic() + self._fetch_timeout
        held = None if self._held is None else self._held.token
        try:
            async with asyncio.timeout(self._fetch_timeout):
                token = await self._shared.fetch(
                    held, was_refused=replaces_refused, deadline=deadline
                )
        except TimeoutError:
            raise self._record_failure(
                Refusal(Reason.PLATFORM_TIMEOUT, "token: out of time")
            ) from None
        except StateError as error:
            raise self._record_failure(Refusal(Reason.ACCOUNT_UNAVAILABLE, error.detail)) from None
        except Refusal as refusal:
            raise self._record_failure(refusal) from None
        self._keep(token, replaces_refused=replaces_refused)
        return token.value

    def _keep(self, token: AccessToken, *, replaces_refused: bool) -> None:
        time, now = self._clock.now(), self._clock.monotonic()
        life = max(token.expires_at - time, MIN_LIFETIME_SECONDS)
        self._held = CachedToken(
            token=token,
            refresh_at=now + life * REFRESH_SHARE,
            last_use=now + life - min(MIN_REMAINING_SECONDS, life * MIN_REMAINING_SHARE),
            kept_until=now + REFUSAL_CACHE_SECONDS if replaces_refused else now,
        )
        self._failure = None
        self._telemetry.health.has_access_token = True
        self._telemetry.health.record_success("token")
        metrics = self._telemetry.metrics.upstream
        metrics.token_expiry.set(token.expires_at)
        metrics.token_refresh.set(time + life * REFRESH_SHARE)

    def _record_failure(self, failure: Refusal) -> Refusal:
        self._failure = failure.copy()
        self._failed_until = self._clock.monotonic() + FAILURE_CACHE_SECONDS
        self._telemetry.health.record_refusal("token", failure)
        return failure.copy()
