"""Which tokens are revoked: known here, published to all instances, pulled behind the plays.

A revocation holds here at once and elsewhere with the next pull. Instances put back what a store
has lost: as long as one of them lives, a revocation is in force until it concerns nothing.

What is read is trusted as little as what comes from a network: dates are clipped, names bounded,
and so is the number of entries; the operator can undo a revocation that another writer made.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence

from proxy.adapters.errors import StateError
from proxy.adapters.telemetry import Telemetry
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.revocations import (
    MAX_REVOCATIONS,
    Name,
    Revocation,
    RevocationKind,
    RevocationList,
    RevocationProofs,
    ValidityLimit,
)
from proxy.domain.seal import Session
from proxy.domain.tokens.claims import Claims
from proxy.domain.video import VideoId, to_loggable_id
from proxy.edge.shared_state import SharedState
from proxy.settings.schema import StateConfig

LOG_NAME = "revocations"
MAX_PAGES = 100  # read in one pull; the next one goes on
NOT_PUBLISHED = "Nothing was changed: the state that instances share does not answer. Try again."
# A clock that is set wrong and right again must not have anything forgotten meanwhile.
ROUNDING_SECONDS, MIN_ROUNDED_SECONDS = (
    5.0,
    3600.0,
)  # seconds: what counts as set anew, and how long nothing is forgotten
MAX_AGE_FACTOR = 2.0  # times `state.max_staleness`: a list that is older is not up to date


class Revocations:
    """The revocations in force, as this instance knows them."""

    def __init__(
        self,
        state: SharedState,
        telemetry: Telemetry,
        config: StateConfig,
        longest: ValidityLimit,
        proofs: RevocationProofs,
    ) -> None:
        self._state = state
        self._clock = clock = telemetry.clock
        self._metrics = metrics = telemetry.metrics.state
        self._log = telemetry.log
        self._config = config
        self._proofs = proofs
        self._list = RevocationList()
        self._told: set[Revocation] = set()  # by us, and not seen in the log yet
        self._position = ""
        self._pulled_at = float("-inf")
        self._offset = clock.now() - clock.monotonic()
        self._stepped_at = float("-inf")
        self.longest = longest  # a reload may change it
        metrics.revocations.set_function(self._update_metrics)
        if not state.is_shared:
            metrics.revocations_pulled.set_function(clock.now)

    @property
    def age(self) -> float:
        """How long ago the list was brought up to date, in seconds; infinite before the first."""
        return self._clock.monotonic() - self._pulled_at if self._state.is_shared else 0.0

    def list_in_force(self) -> Sequence[Revocation]:
        """Return every revocation that this instance knows to be in force."""
        self._drop_expired()
        return sorted(
            self._list.list_in_force(), key=lambda it: (it.kind, it.value, it.issuer or "")
        )

    async def revoke(
        self,
        kind: RevocationKind,
        value: str,
        *,
        issuer: str | None = None,
        before: int | None = None,
    ) -> Revocation:
        """Revoke what was issued until `before` (seconds since 1970; now), or refuse.

        A `jti` is revoked whatever its `iat`. Without an issuer, tokens of our own are meant.
        """
        now = int(self._clock.now())
        if before is not None and before > now + self.longest.leeway:
            raise _build_invalid_refusal(
                "before is in the future; what is not issued yet is not to be issued."
            )
        moment = now if before is None else before
        revocation = Revocation(
            kind=kind,
            value=value,
            issuer=issuer,
            before=moment,
            at=self._choose_time((kind, value, issuer)),
        )
        if revocation.compute_end(self.longest) <= now:
            raise _build_invalid_refusal(
                "before is so long ago that every token meant has expired."
            )
        self._drop_expired()
        if len(self._list) >= MAX_REVOCATIONS and self._list.find(revocation.name) is None:
            raise _build_invalid_refusal(
                f"{MAX_REVOCATIONS} revocations are in force. Retire the key instead."
            )
        await self._publish(revocation)
        self._log.info("revoked", **_build_log_fields(revocation), before=before)
        return self._list.find(revocation.name) or revocation

    async def undo(self, kind: RevocationKind, value: str, *, issuer: str | None = None) -> None:
        """Undo the revocation of a name on every instance, or refuse and change nothing."""
        known = self._list.find((kind, value, issuer))
        if known is None or known.is_undone:
            raise _build_invalid_refusal(f"No revocation of this {kind} is in force.")
        at = max(known.at, int(self._clock.now()))
        undone = Revocation(kind=kind, value=value, issuer=issuer, before=at, at=at, is_undone=True)
        await self._publish(undone)
        self._log.info("revocation-undone", **_build_log_fields(undone))

    async def pull(self) -> None:
        """Bring the list up to date, and put back what the store has lost.

        Raises:
            StateError: the state does not answer.
        """
        position, is_whole, is_last = self._position, not self._position, False
        told, pages, is_full = RevocationList(), 0, False
        ahead: dict[Name, Revocation] = {}
        while not is_last and pages < MAX_PAGES:
            reading = await self._state.read(LOG_NAME, position)
            is_whole = is_whole or not reading.is_continued
            for revocation in self._read_page(reading.entries, ahead):
                told.add(revocation)
                is_full = not self._list.add(revocation) or is_full
            position, is_last, pages = reading.position, reading.is_last, pages + 1
        for revocation in ahead.values():
            told.add(revocation)
            is_full = not self._list.add(revocation) or is_full
        self._position = position
        if is_full:
            self._log.error("revocations-full", count=len(self._list))
        if not is_last:
            return  # more than anybody revokes: the list stays out of date until all of it is read
        self._pulled_at = self._clock.monotonic()
        self._metrics.revocations_pulled.set(self._clock.now())
        self._drop_expired()
        should_be_there = self._list if is_whole else self._told
        self._told = {known for known in should_be_there if known not in told}
        if is_whole and self._told:
            self._log.warning("revocations-lost", count=len(self._told))
        if self._told:
            await self._append(self._told)

    def check(self, video: VideoId, whose: Claims | Session) -> None:
        """Refuse what is revoked, and, if so set, everything while the list is out of date."""
        self._list.check(video, whose)
        is_late = self.age > self._config.max_staleness * MAX_AGE_FACTOR
        if is_late and self._config.revocations_on_failure == "deny":
            raise Refusal(Reason.STATE_UNAVAILABLE, "the list of revocations is not up to date")

    def _choose_time(self, name: Name) -> int:
        """Return now, or the second behind the last undoing, which would count otherwise."""
        now, known = int(self._clock.now()), self._list.find(name)
        return max(now, known.at + 1) if known is not None and known.is_undone else now

    async def _publish(self, news: Revocation) -> None:
        proven = self._proofs.prove(news)
        try:
            await self._append([proven])
        except StateError as error:
            raise Refusal(Reason.STATE_UNAVAILABLE, error.detail, message=NOT_PUBLISHED) from None
        self._list.add(proven)

    def _read_page(
        self, entries: Iterable[str], ahead: dict[Name, Revocation]
    ) -> Iterator[Revocation]:
        """Yield what a page says, but for unproven revocations that were dated ahead.

        Those are gathered in `ahead` and count as made now. They would come back at every start, so
        whatever undoes them has to stand behind them in the log, whenever it was made; what else is
        known of the name still counts.
        """
        now = int(self._clock.now())
        for entry in entries:
            try:
                written = Revocation.from_json(entry)
            except ValueError:  # of another version of this program, or another writer
                continue
            if self._proofs.is_proven(written):
                if written.is_undone:
                    ahead.pop(written.name, None)
                yield written
            elif not written.is_undone:
                clipped = written.clip_times(now, self.longest.leeway)
                if clipped.at == written.at:
                    yield clipped
                else:
                    ahead[clipped.name] = clipped

    async def _append(self, revocations: Collection[Revocation]) -> None:
        if not self._state.is_shared:
            return
        keep = self.longest.validity + self.longest.leeway
        await self._state.append(LOG_NAME, [it.to_json() for it in revocations], keep=keep)
        self._told.update(revocations)

    def _update_metrics(self) -> float:
        self._drop_expired()
        return sum(1 for _ in self._list.list_in_force())

    def _drop_expired(self) -> None:
        now, ticks = self._clock.now(), self._clock.monotonic()
        if abs(now - ticks - self._offset) > ROUNDING_SECONDS:
            self._offset, self._stepped_at = now - ticks, ticks
        if ticks - self._stepped_at > MIN_ROUNDED_SECONDS:
            self._list.drop_expired(now, self.longest)


def _build_log_fields(revocation: Revocation) -> dict[str, str | None]:
    value, kind = revocation.value, revocation.kind
    named = to_loggable_id(VideoId(value)) if kind == "video" else value
    return {"kind": kind, "value": named, "issuer": revocation.issuer}


def _build_invalid_refusal(message: str) -> Refusal:
    return Refusal(Reason.REQUEST_INVALID, message=message)
