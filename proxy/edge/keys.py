"""Verify tokens with the current keys: our own, and those that other issuers publish.

Issuers' keys are refreshed in the background and kept if a refresh fails. An unknown key triggers
one fetch, shared by all waiting requests, and then none for ten seconds.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from proxy.adapters.concurrency import SingleFlight
from proxy.adapters.errors import UpstreamError
from proxy.adapters.telemetry import Telemetry
from proxy.domain.caches import cached_up_to
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.tokens.claims import Claims, claimed_issuer, verify
from proxy.domain.tokens.compact import read_compact
from proxy.domain.tokens.jwks import read_published_set
from proxy.domain.tokens.keyring import Key, Keyring, KeyUnusable

CACHED_TOKENS = 10_000  # that were verified; players send one token many times
MAX_CACHED_TOKEN = 1500  # characters; real tokens have 300 to 1,000


Fetch = Callable[[str], Awaitable[str]]

REFRESH_SECONDS = 300.0
RETRY_SECONDS = 15.0  # after a failure
ASK_AGAIN_SECONDS = 10.0  # for a key that is not known: until then it stays unknown
KEPT_SECONDS = 86_400.0  # without news; a key that its issuer took back must not live for ever


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What is known of an issuer's keys; times on the monotonic clock, None for never."""

    url: str
    keys: tuple[Key, ...] = ()
    fetched_at: float | None = None
    asked_at: float | None = None
    trouble: str = ""


class Issuers:
    """Fetches and keeps the keys of every issuer in the settings."""

    def __init__(self, fetch: Fetch, telemetry: Telemetry) -> None:
        self._fetch = fetch
        self._clock = telemetry.clock
        self._fetched_at = telemetry.metrics.settings.issuer_keys_fetched
        self._log = telemetry.log
        self._flights: SingleFlight[str, None] = SingleFlight()
        self._woken = asyncio.Event()
        self.published: dict[str, Published] = {}
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
                self.published[issuer] = Published(url=url)
                fetched.labels(issuer=issuer).set(0)
        self.version += 1
        self._woken.set()

    async def learn(self, issuer: str | None) -> bool:
        """Ask an issuer for a key that is not known; return whether there is anything new."""
        if issuer is None or (known := self.published.get(issuer)) is None:
            return False
        if (
            known.asked_at is not None
            and self._clock.monotonic() < known.asked_at + ASK_AGAIN_SECONDS
            and not self._flights.is_under_way(issuer)
        ):
            return False
        before = self.version
        await self._renewed(issuer)
        return self.version != before

    async def keep_fresh(self) -> None:
        """Fetch the keys of every issuer ahead of time, for ever."""
        while True:
            self._woken.clear()
            due = [it for it, known in self.published.items() if self._wait(known) <= 0]
            await asyncio.gather(*map(self._renewed, due))
            if waits := [self._wait(known) for known in self.published.values()]:
                await self._sleep(min(waits))
            else:
                await self._woken.wait()

    async def close(self) -> None:
        """Give up the fetches under way."""
        await self._flights.close()

    def age(self, known: Published) -> float | None:
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

    def _wait(self, known: Published) -> float:
        if known.asked_at is None:
            return 0.0
        pause = RETRY_SECONDS if known.trouble else REFRESH_SECONDS
        return known.asked_at + pause - self._clock.monotonic()

    async def _renewed(self, issuer: str) -> None:
        await self._flights.join(issuer, lambda: self._renew(issuer))

    async def _renew(self, issuer: str) -> None:
        if (known := self.published.get(issuer)) is None:
            return  # not trusted any more
        url = known.url
        try:
            keys, trouble = read_published_set(await self._fetch(url), issuer), ""
        except UpstreamError as error:
            keys, trouble = (), error.detail
        except KeyUnusable as unusable:
            keys, trouble = (), str(unusable)
        except Exception:  # noqa: BLE001  # a bug: it must neither refuse a play nor end the renewals
            self._log.exception("internal", task="issuers")
            keys, trouble = (), "internal"
        known = self.published.get(issuer)
        if known is None or known.url != url:
            return  # the settings changed meanwhile
        if trouble:
            self._failed(issuer, known, trouble)
        else:
            self._fetched(issuer, known, keys)

    def _fetched(self, issuer: str, known: Published, keys: tuple[Key, ...]) -> None:
        if known.trouble:
            self._log.info("issuer-recovered", issuer=issuer)
        now = self._clock.monotonic()
        self._keep(issuer, Published(url=known.url, keys=keys, fetched_at=now, asked_at=now))
        self._fetched_at.labels(issuer=issuer).set(self._clock.now())

    def _failed(self, issuer: str, known: Published, trouble: str) -> None:
        if known.trouble != trouble:
            self._log.warning("issuer-trouble", issuer=issuer, detail=trouble)
        age = self.age(known)
        keys = known.keys if age is not None and age < KEPT_SECONDS else ()
        now = self._clock.monotonic()
        self._keep(issuer, replace(known, keys=keys, asked_at=now, trouble=trouble))

    def _keep(self, issuer: str, published: Published) -> None:
        before = self.published[issuer].keys
        self.published[issuer] = published
        if [_material(key) for key in published.keys] != [_material(key) for key in before]:
            self.version += 1


def _material(key: Key) -> tuple[str, str, object]:
    return key.kid, key.algorithm, key.jwk.as_dict(private=False)


class Keys:
    """Verifies, and remembers what was verified for as long as the keys stay the same."""

    def __init__(
        self, own: Sequence[Key], issuers: Issuers, videos: Mapping[str, re.Pattern[str]]
    ) -> None:
        self._own = tuple(own)
        self._videos = videos
        self._issuers = issuers
        self._version = issuers.version
        self._verify = self._with_these_keys()

    async def verify(self, token: str) -> Claims:
        """Return a token's claims, or refuse; an issuer may be asked for a key that is new."""
        try:
            return self._up_to_date()(token)
        except Refusal as refusal:
            if refusal.reason is not Reason.TOKEN_KEY_UNKNOWN:
                raise
            issuer = claimed_issuer(read_compact(token))
            if not await self._issuers.learn(issuer):
                raise self._told(refusal, issuer) from None
        return self._up_to_date()(token)

    def _told(self, refusal: Refusal, issuer: str | None) -> Refusal:
        known = self._issuers.published.get(issuer or "")
        trouble = f"; they cannot be had now: {known.trouble}" if known and known.trouble else ""
        return Refusal(refusal.reason, f"{refusal.detail}{trouble}")

    def _up_to_date(self) -> Callable[[str], Claims]:
        if self._version != self._issuers.version:
            self._version = self._issuers.version
            self._verify = self._with_these_keys()
        return self._verify

    def _with_these_keys(self) -> Callable[[str], Claims]:
        published = {issuer: it.keys for issuer, it in self._issuers.published.items()}
        keyring = Keyring(self._own, published, self._videos)
        return cached_up_to(
            MAX_CACHED_TOKEN,
            entries=CACHED_TOKENS,
            function=partial(verify, keyring=keyring),
        )
