"""Keep this instance's access token, and refresh it before it expires."""

import asyncio
from dataclasses import dataclass
from functools import partial

from proxy.adapters.concurrency import SingleFlight
from proxy.adapters.dailymotion.token_endpoint import AccessToken
from proxy.adapters.errors import StateError
from proxy.adapters.telemetry import Telemetry
from proxy.domain.reasons import Reason, Refusal
from proxy.edge.shared_access_token import SharedAccessToken

# A token is refreshed after this share of its lifetime: of ten hours, two remain to survive an
# outage of the token endpoint.
REFRESH_SHARE = 0.8
# A token is not used in the last second before it expires: it could expire in transit. If the
# token lives only for seconds, in the last tenth of its lifetime.
MIN_REMAINING_SECONDS = 1.0
MIN_REMAINING_SHARE = 0.1
MIN_LIFETIME_SECONDS = 2.0  # assumed at least, or a token that expires at once causes a busy loop
RETRY_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)  # between background attempts
MAX_SLEEP_SECONDS = 60.0  # then check again: a play may have replaced the token meanwhile
REFUSAL_CACHE_SECONDS = 5.0  # a token that replaced a refused one is kept at least this long
FAILURE_CACHE_SECONDS = 1.0  # a failed fetch is not retried by plays for this long


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedToken:
    """The current access token; times in seconds on the monotonic clock."""

    token: AccessToken
    refresh_at: float
    last_use: float
    kept_until: float  # if Dailymotion refuses the token before then, it is not replaced


class AccessTokenCache:
    """Caches the access token; concurrent requests share one fetch."""

    def __init__(
        self, shared: SharedAccessToken, telemetry: Telemetry, *, fetch_timeout: float
    ) -> None:
        self._shared = shared
        self._telemetry = telemetry
        self._clock = telemetry.clock
        self._fetch_timeout = fetch_timeout
        self._fetches: SingleFlight[None, str] = SingleFlight()
        self._current: CachedToken | None = None
        self._failure: Refusal | None = None
        self._failed_until = float("-inf")  # on the monotonic clock; until then, raise `_failure`

    async def get_token(self) -> str:
        """Return a token that has not expired. Raises the Refusal of a failed fetch."""
        if self._current is not None and self._clock.monotonic() < self._current.last_use:
            return self._current.token.value
        return await self._fetch_once()

    async def replace_token(self, refused: str, refusal: Refusal) -> str:
        """Return a token other than `refused`, which Dailymotion has refused with `refusal`.

        The refused token stays in use until another has been fetched: it may work for other videos.
        If it has itself just replaced a refused token, `refusal` is raised: another token is
        unlikely to work either, and the token endpoint must not be flooded.
        """
        current = self._current
        if current is None or current.token.value != refused:
            return await self.get_token()
        if self._clock.monotonic() < current.kept_until:
            raise refusal
        return await self._fetch_once(replaces_refused=True)

    async def keep_fresh(self) -> None:
        """Fetch the first token, then refresh before each expiry; run until cancelled."""
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
        """Cancel the fetch in flight, unless its grant must complete it."""
        await self._fetches.close()
        await self._shared.close()

    async def _try_refresh(self) -> bool:
        """Fetch a token and return whether that succeeded; never raises."""
        try:
            await self._fetches.join(None, self._fetch)
        except Refusal:
            return False
        except Exception:  # a bug; it must not end the refreshes
            self._telemetry.log.exception("internal", task="access-token")
            return False
        return True

    def _compute_wait(self) -> float:
        return 0.0 if self._current is None else self._current.refresh_at - self._clock.monotonic()

    async def _fetch_once(self, *, replaces_refused: bool = False) -> str:
        if self._failure is not None and self._clock.monotonic() < self._failed_until:
            raise self._failure.copy()
        fetch = partial(self._fetch, replaces_refused=replaces_refused)
        return await self._fetches.join(None, fetch)

    async def _fetch(self, *, replaces_refused: bool = False) -> str:
        deadline = self._clock.monotonic() + self._fetch_timeout
        current = None if self._current is None else self._current.token
        try:
            async with asyncio.timeout(self._fetch_timeout):
                token = await self._shared.fetch(
                    current, was_refused=replaces_refused, deadline=deadline
                )
        except TimeoutError:
            raise self._record_failure(
                Refusal(Reason.PLATFORM_TIMEOUT, "token: no access token in time")
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
        self._current = CachedToken(
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
