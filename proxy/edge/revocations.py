"""Which tokens were taken back: known here, told to all instances, pulled behind the plays.

A revocation holds here at once and elsewhere with the next pull. Instances put back what a store
has lost: as long as one of them lives, a revocation is in force until it concerns nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from proxy.adapters.clock import Clock
from proxy.adapters.metrics import Metrics
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.revocations import FOREVER, Kind, Revocation, RevocationList
from proxy.edge.state import OnFailure, State

LOG = "revocations"
MOST = 100_000  # in force at once; to take back more than that, retire their key
LATE = 2.0  # times `state.staleness`: a list that is older is not up to date


class Revocations:
    """The revocations in force, as this instance knows them."""

    def __init__(
        self,
        state: State,
        *,
        clock: Clock,
        metrics: Metrics,
        staleness: float,
        retention: float,
        leeway: float,
        on_failure: OnFailure,
    ) -> None:
        self._state = state
        self._clock = clock
        self._metrics = metrics
        self._staleness = staleness
        self._retention = retention
        self._leeway = leeway
        self._on_failure = on_failure
        self._list = RevocationList()
        self._told: set[Revocation] = set()  # by us, and not seen in the log yet
        self._position = ""
        self._pulled_at = float("-inf")
        metrics.revocations.set_function(self._count)
        if not state.is_shared:
            metrics.revocations_pulled.set_function(clock.now)

    def keep_for(self, retention: float, leeway: float) -> None:
        """Keep what comes from now on for as long as these settings need it, in seconds."""
        self._retention, self._leeway = retention, leeway

    @property
    def age(self) -> float:
        """How long ago the list was brought up to date, in seconds; infinite before the first."""
        return self._clock.monotonic() - self._pulled_at if self._state.is_shared else 0.0

    def in_force(self) -> Sequence[Revocation]:
        """Return every revocation that this instance knows to be in force."""
        self._list.forget(self._clock.now())
        return sorted(self._list, key=lambda it: (it.kind, it.value))

    async def revoke(self, kind: Kind, value: str, *, before: int | None = None) -> Revocation:
        """Take back what was issued until a moment, or refuse and take back nothing.

        Args:
            kind: which claim names it.
            value: the claim's value.
            before: seconds since 1970, None for now; a `jti` is taken back whenever it was issued.
        """
        now = int(self._clock.now())
        if before is not None and before > now + self._leeway:
            raise _invalid("before is in the future; what is not issued yet is not to be issued.")
        moment = now if before is None else before
        revocation = Revocation(
            kind=kind,
            value=value,
            before=FOREVER if kind == "jti" else moment,
            until=int((now + self._leeway if kind == "jti" else moment) + self._retention) + 1,
        )
        if revocation.until <= now:
            raise _invalid("before is so long ago that all of it has lapsed.")
        if self._count() >= MOST:
            raise _invalid(f"{MOST} revocations are in force. Retire the key instead.")
        await self._tell(revocation)
        return self._take(revocation)

    async def pull(self) -> None:
        """Bring the list up to date, and put back what the store has lost, or refuse."""
        reading = await self._state.read(LOG, self._position)
        told = RevocationList()
        for entry in reading.entries:
            try:
                told.add(Revocation.from_json(entry))
            except ValueError:
                continue  # of another version of this program, or nobody's
        self._list.forget(self._clock.now())
        is_whole = not self._position or not reading.is_continued
        for known in self._list if is_whole else list(self._told):
            if known not in told:
                await self._tell(known)
        self._told = {known for known in self._told if known not in told}
        for revocation in told:
            self._take(revocation)
        self._position = reading.position
        self._pulled_at = self._clock.monotonic()
        self._metrics.revocations_pulled.set(self._clock.now())

    def check(self, *, video: str, jti: str | None, subject: str | None, issued_at: int) -> None:
        """Refuse what was taken back, and, where that is set, everything while nobody can tell."""
        self._list.check(video=video, jti=jti, subject=subject, issued_at=issued_at)
        if self._on_failure == "deny" and self.age > self._staleness * LATE:
            raise Refusal(Reason.STATE_UNAVAILABLE, "the list of revocations is not up to date")

    async def _tell(self, revocation: Revocation) -> None:
        left = revocation.until - self._clock.now()
        keep = max(self._retention + self._leeway, left)
        await self._state.append(LOG, revocation.to_json(), keep=keep)
        self._told.add(revocation)

    def _take(self, revocation: Revocation) -> Revocation:
        if revocation.until <= self._clock.now():
            return revocation
        return self._list.add(revocation)

    def _count(self) -> float:
        self._list.forget(self._clock.now())
        return len(self._list)


def _invalid(message: str) -> Refusal:
    return Refusal(Reason.REQUEST_INVALID, message=message)
