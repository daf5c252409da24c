"""Which tokens were taken back: known here, told to all instances, pulled behind the plays.

A revocation holds here at once and elsewhere with the next pull. Instances put back what a store
has lost: as long as one of them lives, a revocation is in force until it concerns nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress

from proxy.adapters.clock import Clock
from proxy.adapters.logs import Logger
from proxy.adapters.metrics import Metrics
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.revocations import FOREVER, Kind, Longest, Revocation, RevocationList
from proxy.domain.video import VideoId, loggable
from proxy.edge.state import OnFailure, State

LOG = "revocations"
MOST = 100_000  # in force at once; to take back more than that, retire their key
NOT_TOLD = "Nothing was taken back: the state that instances share does not answer. Try again."
# A clock that is set wrong and right again must not have anything forgotten meanwhile.
STEP, STEADY = 5.0, 3600.0  # seconds: what counts as set anew, and how long nothing is forgotten
LATE = 2.0  # times `state.staleness`: a list that is older is not up to date


class Revocations:
    """The revocations in force, as this instance knows them."""

    def __init__(
        self,
        state: State,
        *,
        clock: Clock,
        metrics: Metrics,
        log: Logger,
        staleness: float,
        longest: Longest,
        on_failure: OnFailure,
    ) -> None:
        self._state = state
        self._clock = clock
        self._metrics = metrics
        self._log = log
        self._staleness = staleness
        self._on_failure = on_failure
        self._list = RevocationList()
        self._told: set[Revocation] = set()  # by us, and not seen in the log yet
        self._position = ""
        self._pulled_at = float("-inf")
        self._offset = clock.now() - clock.monotonic()
        self._stepped_at = float("-inf")
        self.longest = longest  # a reload may change it
        metrics.revocations.set_function(self._count)
        if not state.is_shared:
            metrics.revocations_pulled.set_function(clock.now)

    @property
    def age(self) -> float:
        """How long ago the list was brought up to date, in seconds; infinite before the first."""
        return self._clock.monotonic() - self._pulled_at if self._state.is_shared else 0.0

    def in_force(self) -> Sequence[Revocation]:
        """Return every revocation that this instance knows to be in force."""
        self._count()
        return sorted(self._list, key=lambda it: (it.kind, it.value))

    async def revoke(self, kind: Kind, value: str, *, before: int | None = None) -> Revocation:
        """Take back what was issued until a moment, or refuse and take back nothing.

        Args:
            kind: which claim names it.
            value: the claim's value.
            before: seconds since 1970, None for now; a `jti` is taken back whenever it was issued.
        """
        now = int(self._clock.now())
        if before is not None and before > now + self.longest.leeway:
            raise _invalid("before is in the future; what is not issued yet is not to be issued.")
        moment = now if before is None else before
        reach = FOREVER if kind == "jti" else moment
        revocation = Revocation(kind=kind, value=value, before=reach, at=now)
        if revocation.concerns_until(self.longest) <= now:
            raise _invalid("before is so long ago that all of it has lapsed.")
        if self._count() >= MOST:
            raise _invalid(f"{MOST} revocations are in force. Retire the key instead.")
        try:
            await self._tell([revocation])
        except Refusal as refusal:
            raise Refusal(refusal.reason, refusal.detail, message=NOT_TOLD) from None
        named = loggable(VideoId(value)) if kind == "video" else value
        self._log.info("revoked", kind=kind, value=named, before=before)
        return self._list.add(revocation)

    async def pull(self) -> None:
        """Bring the list up to date, and put back what the store has lost, or refuse."""
        position, is_whole, is_last = self._position, not self._position, False
        told = RevocationList()
        while not is_last:
            reading = await self._state.read(LOG, position)
            is_whole = is_whole or not reading.is_continued
            for revocation in _read(reading.entries):
                told.add(revocation)
                self._list.add(revocation)
            position, is_last = reading.position, reading.is_last
        self._position = position
        self._pulled_at = self._clock.monotonic()
        self._metrics.revocations_pulled.set(self._clock.now())
        self._count()
        should_be_there = self._list if is_whole else self._told
        self._told = {known for known in should_be_there if known not in told}
        if is_whole and self._told:
            self._log.warning("revocations-lost", count=len(self._told))
        if self._told:
            await self._tell(self._told)

    def check(self, *, video: str, jti: str | None, subject: str | None, issued_at: int) -> None:
        """Refuse what was taken back, and, where that is set, everything while nobody can tell."""
        self._list.check(video=video, jti=jti, subject=subject, issued_at=issued_at)
        if self._on_failure == "deny" and self.age > self._staleness * LATE:
            raise Refusal(Reason.STATE_UNAVAILABLE, "the list of revocations is not up to date")

    async def _tell(self, revocations: Collection[Revocation]) -> None:
        keep = self.longest.validity + self.longest.leeway
        await self._state.append(LOG, [it.to_json() for it in revocations], keep=keep)
        if self._state.is_shared:
            self._told.update(revocations)

    def _count(self) -> float:
        """Forget what may be forgotten, and return how many are left."""
        now, ticks = self._clock.now(), self._clock.monotonic()
        if abs(now - ticks - self._offset) > STEP:
            self._offset, self._stepped_at = now - ticks, ticks
        if ticks - self._stepped_at > STEADY:
            self._list.forget(now, self.longest)
        return len(self._list)


def _read(entries: Iterable[str]) -> Iterator[Revocation]:
    for entry in entries:
        # What is none is of another version of this program, or nobody's.
        with suppress(ValueError):
            yield Revocation.from_json(entry)


def _invalid(message: str) -> Refusal:
    return Refusal(Reason.REQUEST_INVALID, message=message)
