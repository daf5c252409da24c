"""Cache of the keys that other issuers publish (JWK Sets, RFC 7517).

A background task refreshes the keys and keeps them if a refresh fails. A token with an unknown key
triggers one fetch, shared by all waiting requests; the next such fetch is possible after ten seconds.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from proxy.adapters.concurrency import SingleFlight
from proxy.adapters.errors import UpstreamError
from proxy.adapters.telemetry import Telemetry
from proxy.domain.tokens.jwks import read_published_set
from proxy.domain.tokens.keyring import KeyInvalid, SigningKey

Fetch = Callable[[str], Awaitable[str]]

REFRESH_SECONDS = 300.0
RETRY_SECONDS = 15.0  # after a failure
MIN_FETCH_INTERVAL_SECONDS = 10.0  # for a key that is not known: until then it stays unknown
MAX_KEY_AGE_SECONDS = (
    86_400.0  # without news; a key that its issuer took back must not live for ever
)


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerKeys:
    """What is known of an issuer's keys; times on the monotonic clock, None for never."""

    url: str
    keys: tuple[SigningKey, ...] = ()
    fetched_at: float | None = None
    requested_at: float | None = None
    error: str = ""


class JwksCache:
    """Fetches and keeps the keys of every issuer in the settings."""

    def __init__(self, fetch: Fetch, telemetry: Telemetry) -> None:
        self._fetch = fetch
        self._clock = telemetry.clock
        self._fetched_at = telemetry.metrics.settings.issuer_keys_fetched
        self._log = telemetry.log
        self._flights: SingleFlight[str, None] = SingleFlight()
        self._woken = asyncio.Event()
        self.published: dict[str, IssuerKeys] = {}
        self.version = 0  # of all their keys together

    def trust(self, urls: Mapping[str, str]) -> None:
        """Take these issuers' tokens from now on, and no others'; what is known of them stays."""
        known, fetched = self.published, self._fetched_at
        for issuer in known.keys() - urls.keys():
            fetched.remove(issuer)
        self.published = {}
        for issuer, url in urls.items():
            if issuer in known and known[issuer].url == url:
                self.published[issuer] = known[issuer]
            else:
                self.published[issuer] = IssuerKeys(url=url)
                fetched.labels(issuer=issuer).set(0)
        self.version += 1
        self._woken.set()

    async def fetch_unknown_key(self, issuer: str | None) -> bool:
        """Ask an issuer for a key that is not known; return whether there is anything new."""
        if issuer is None or (known := self.published.get(issuer)) is None:
            return False
        if (
            known.requested_at is not None
            and self._clock.monotonic() < known.requested_at + MIN_FETCH_INTERVAL_SECONDS
            and not self._flights.is_in_flight(issuer)
        ):
            return False
        before = self.version
        await self._refresh_once(issuer)
        return self.version != before

    async def keep_fresh(self) -> None:
        """Fetch the keys of every issuer ahead of time, for ever."""
        while True:
            self._woken.clear()
            due = [it for it, known in self.published.items() if self._compute_wait(known) <= 0]
            await asyncio.gather(*map(self._refresh_once, due))
            if waits := [self._compute_wait(known) for known in self.published.values()]:
                await self._sleep(min(waits))
            else:
                await self._woken.wait()

    async def close(self) -> None:
        """Give up the fetches under way."""
        await self._flights.close()

    def compute_age(self, known: IssuerKeys) -> float | None:
        """Return how long ago an issuer's keys were fetched, in seconds."""
        return None if known.fetched_at is None else self._clock.monotonic() - known.fetched_at

    async def _sleep(self, seconds: float) -> None:
        sleeping = asyncio.create_task(self._clock.sleep(max(seconds, 0.0)))
        waking = asyncio.create_task(self._woken.wait())
        try:
            await asyncio.wait({sleeping, waking}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            waking.cancel()

    def _compute_wait(self, known: IssuerKeys) -> float:
        if known.requested_at is None:
            return 0.0
        pause = RETRY_SECONDS if known.error else REFRESH_SECONDS
        return known.requested_at + pause - self._clock.monotonic()

    async def _refresh_once(self, issuer: str) -> None:
        await self._flights.join(issuer, lambda: self._refresh(issuer))

    async def _refresh(self, issuer: str) -> None:
        if (known := self.published.get(issuer)) is None:
            return  # not trusted any more
        url = known.url
        try:
            keys, trouble = read_published_set(await self._fetch(url), issuer), ""
        except UpstreamError as error:
            keys, trouble = (), error.detail
        except KeyInvalid as unusable:
            keys, trouble = (), str(unusable)
        except Exception:  # noqa: BLE001  # a bug: it must neither refuse a play nor end the renewals
            self._log.exception("internal", task="issuers")
            keys, trouble = (), "internal"
        known = self.published.get(issuer)
        if known is None or known.url != url:
            return  # the settings changed meanwhile
        if trouble:
            self._record_failure(issuer, known, trouble)
        else:
            self._record_success(issuer, known, keys)

    def _record_success(self, issuer: str, known: IssuerKeys, keys: tuple[SigningKey, ...]) -> None:
        if known.error:
            self._log.info("issuer-recovered", issuer=issuer)
        now = self._clock.monotonic()
        self._keep(issuer, IssuerKeys(url=known.url, keys=keys, fetched_at=now, requested_at=now))
        self._fetched_at.labels(issuer=issuer).set(self._clock.now())

    def _record_failure(self, issuer: str, known: IssuerKeys, error: str) -> None:
        if known.error != error:
            self._log.warning("issuer-failing", issuer=issuer, detail=error)
        age = self.compute_age(known)
        keys = known.keys if age is not None and age < MAX_KEY_AGE_SECONDS else ()
        now = self._clock.monotonic()
        self._keep(issuer, replace(known, keys=keys, requested_at=now, error=error))

    def _keep(self, issuer: str, published: IssuerKeys) -> None:
        before = self.published[issuer].keys
        self.published[issuer] = published
        if [_get_material(key) for key in published.keys] != [_get_material(key) for key in before]:
            self.version += 1


def _get_material(key: SigningKey) -> tuple[str, str, object]:
    return key.kid, key.algorithm, key.jwk.as_dict(private=False)
