"""Cache of the keys that other issuers publish (JWK Sets, RFC 7517).

A background task refreshes the keys, and keeps the old ones if a refresh fails. A token with an
unknown key triggers one fetch, shared by all waiting requests; the next such fetch is possible ten
seconds later.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from proxy.adapters.concurrency import SingleFlight
from proxy.adapters.errors import INTERNAL_ERROR, UpstreamError
from proxy.adapters.telemetry import Telemetry
from proxy.domain.tokens.jwks import read_published_set
from proxy.domain.tokens.keyring import KeyInvalid, SigningKey

Fetch = Callable[[str], Awaitable[str]]

REFRESH_SECONDS = 300.0
RETRY_SECONDS = 15.0  # after a failure
MIN_FETCH_INTERVAL_SECONDS = 10.0  # between fetches that tokens with unknown keys trigger
# If refreshes fail for this long, the keys are dropped: the issuer may have revoked them meanwhile.
MAX_KEY_AGE_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerKeys:
    """The cached keys of an issuer; times in seconds on the monotonic clock, None for never."""

    url: str
    keys: tuple[SigningKey, ...] = ()
    fetched_at: float | None = None
    requested_at: float | None = None
    error: str = ""


class JwksCache:
    """Fetches and caches the keys of every issuer in the settings."""

    def __init__(self, fetch: Fetch, telemetry: Telemetry) -> None:
        self._fetch = fetch
        self._clock = telemetry.clock
        self._fetched_at = telemetry.metrics.settings.issuer_keys_fetched
        self._log = telemetry.log
        self._flights: SingleFlight[str, None] = SingleFlight()
        self._woken = asyncio.Event()
        self.published: dict[str, IssuerKeys] = {}
        self.version = 0  # changes whenever any cached key changes

    def trust(self, urls: Mapping[str, str]) -> None:
        """Replace the trusted issuers; keys of an issuer with an unchanged URL stay cached.

        Args:
            urls: the JWK Set URL of each issuer.
        """
        cached, fetched = self.published, self._fetched_at
        for issuer in cached.keys() - urls.keys():
            fetched.remove(issuer)
        self.published = {}
        for issuer, url in urls.items():
            if issuer in cached and cached[issuer].url == url:
                self.published[issuer] = cached[issuer]
            else:
                self.published[issuer] = IssuerKeys(url=url)
                fetched.labels(issuer=issuer).set(0)
        self.version += 1
        self._woken.set()

    async def fetch_unknown_key(self, issuer: str | None) -> bool:
        """Fetch the keys of an issuer whose token has an unknown key.

        Returns:
            Whether any cached key changed. False without a fetch if `issuer` is not trusted, or if
            its keys were fetched within `MIN_FETCH_INTERVAL_SECONDS`.
        """
        if issuer is None or (cached := self.published.get(issuer)) is None:
            return False
        if (
            cached.requested_at is not None
            and self._clock.monotonic() < cached.requested_at + MIN_FETCH_INTERVAL_SECONDS
            and not self._flights.is_in_flight(issuer)
        ):
            return False
        before = self.version
        await self._refresh_once(issuer)
        return self.version != before

    async def keep_fresh(self) -> None:
        """Refresh the keys of every issuer periodically; run until cancelled."""
        while True:
            self._woken.clear()
            due = [
                issuer
                for issuer, cached in self.published.items()
                if self._compute_wait(cached) <= 0
            ]
            await asyncio.gather(*map(self._refresh_once, due))
            if waits := [self._compute_wait(cached) for cached in self.published.values()]:
                await self._sleep(min(waits))
            else:
                await self._woken.wait()

    async def close(self) -> None:
        """Cancel the fetches in flight."""
        await self._flights.close()

    def compute_age(self, cached: IssuerKeys) -> float | None:
        """Return the seconds since an issuer's keys were fetched, or None if they never were."""
        return None if cached.fetched_at is None else self._clock.monotonic() - cached.fetched_at

    async def _sleep(self, seconds: float) -> None:
        sleeping = asyncio.create_task(self._clock.sleep(max(seconds, 0.0)))
        waking = asyncio.create_task(self._woken.wait())
        try:
            await asyncio.wait({sleeping, waking}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            waking.cancel()

    def _compute_wait(self, cached: IssuerKeys) -> float:
        if cached.requested_at is None:
            return 0.0
        interval = RETRY_SECONDS if cached.error else REFRESH_SECONDS
        return cached.requested_at + interval - self._clock.monotonic()

    async def _refresh_once(self, issuer: str) -> None:
        await self._flights.join(issuer, lambda: self._refresh(issuer))

    async def _refresh(self, issuer: str) -> None:
        if (cached := self.published.get(issuer)) is None:
            return  # no longer trusted
        url = cached.url
        try:
            keys, failure = read_published_set(await self._fetch(url), issuer), ""
        except UpstreamError as error:
            keys, failure = (), error.detail
        except KeyInvalid as invalid:
            keys, failure = (), str(invalid)
        except Exception:  # noqa: BLE001  # a bug; it must not refuse a play or end the refreshes
            self._log.exception("internal", task="jwks-cache")
            keys, failure = (), INTERNAL_ERROR
        cached = self.published.get(issuer)
        if cached is None or cached.url != url:
            return  # the settings changed meanwhile
        if failure:
            self._record_failure(issuer, cached, failure)
        else:
            self._record_success(issuer, cached, keys)

    def _record_success(
        self, issuer: str, cached: IssuerKeys, keys: tuple[SigningKey, ...]
    ) -> None:
        if cached.error:
            self._log.info("issuer-recovered", issuer=issuer)
        now = self._clock.monotonic()
        self._store(issuer, IssuerKeys(url=cached.url, keys=keys, fetched_at=now, requested_at=now))
        self._fetched_at.labels(issuer=issuer).set(self._clock.now())

    def _record_failure(self, issuer: str, cached: IssuerKeys, error: str) -> None:
        if cached.error != error:
            self._log.warning("issuer-failing", issuer=issuer, detail=error)
        age = self.compute_age(cached)
        keys = cached.keys if age is not None and age < MAX_KEY_AGE_SECONDS else ()
        now = self._clock.monotonic()
        self._store(issuer, replace(cached, keys=keys, requested_at=now, error=error))

    def _store(self, issuer: str, latest: IssuerKeys) -> None:
        old_keys = self.published[issuer].keys
        self.published[issuer] = latest
        if [_get_material(key) for key in latest.keys] != [_get_material(key) for key in old_keys]:
            self.version += 1


def _get_material(key: SigningKey) -> tuple[str, str, object]:
    return key.kid, key.algorithm, key.jwk.as_dict(private=False)
