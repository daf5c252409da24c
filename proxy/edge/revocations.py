"""Revoke tokens: cache revocations in memory, publish them, and pull those of other instances.

A revocation is in force on this instance at once, and on others after their next pull. If the store
loses revocations, any running instance appends them again: each stays in force until every affected
token has expired.

Other clients of Redis can write entries, too, so entries are untrusted input: the length of names
and the number of entries are limited. The edge adds a proof to each entry, made with
`platform.api_secret`. A revocation without a valid proof counts, but its times are limited to
plausible values, and the operator can undo it. An undo without a valid proof is ignored.
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
MAX_PAGES = 100  # per pull; the next pull continues there
NOT_PUBLISHED = "Nothing was changed: the shared state does not respond. Try again."
# If the system clock is set wrong and then corrected, no revocation may be dropped in between. A
# jump of more than MAX_CLOCK_DRIFT_SECONDS counts as setting the clock; after that, nothing is
# dropped for CLOCK_STEP_PAUSE_SECONDS.
MAX_CLOCK_DRIFT_SECONDS, CLOCK_STEP_PAUSE_SECONDS = 5.0, 3600.0
MAX_AGE_FACTOR = 2.0  # a list older than this times `state.max_staleness` is out of date


class Revocations:
    """The revocations that this instance enforces, kept in sync with the shared state."""

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
        self._unconfirmed: set[Revocation] = set()  # appended, and not yet read back
        self._position = ""
        self._pulled_at = float("-inf")
        self._offset = clock.now() - clock.monotonic()
        self._stepped_at = float("-inf")
        self.longest = longest  # a reload of the settings may change this
        metrics.revocations.set_function(self._count_in_force)
        if not state.is_shared:
            metrics.revocations_pulled.set_function(clock.now)

    @property
    def age(self) -> float:
        """The seconds since the last complete pull; infinite before the first pull."""
        return self._clock.monotonic() - self._pulled_at if self._state.is_shared else 0.0

    def list_in_force(self) -> Sequence[Revocation]:
        """Return the revocations in force, sorted by kind and value."""
        self._drop_expired()
        return sorted(
            self._list.list_in_force(),
            key=lambda entry: (entry.kind, entry.value, entry.issuer or ""),
        )

    async def revoke(
        self,
        kind: RevocationKind,
        value: str,
        *,
        issuer: str | None = None,
        before: int | None = None,
    ) -> Revocation:
        """Revoke the tokens whose claim `kind` is `value`; a `jti` is revoked whatever its `iat`.

        `issuer` None means the operator's own keys. Tokens issued after `before` (in seconds since
        1970, None for now) stay valid.

        Raises:
            Refusal: `request-invalid`, or `state-unavailable` if it cannot be published.
        """
        now = int(self._clock.now())
        if before is not None and before > now + self.longest.leeway:
            raise _build_invalid_refusal(
                'The time "before" is in the future. Use the current time or an earlier one.'
            )
        issued_until = now if before is None else before
        revocation = Revocation(
            kind=kind,
            value=value,
            issuer=issuer,
            before=issued_until,
            at=self._choose_time((kind, value, issuer)),
        )
        if revocation.compute_end(self.longest) <= now:
            raise _build_invalid_refusal(
                'Nothing to revoke: every token issued until the time "before" has expired.'
            )
        self._drop_expired()
        if len(self._list) >= MAX_REVOCATIONS and self._list.find(revocation.name) is None:
            raise _build_invalid_refusal(
                f"The maximum of {MAX_REVOCATIONS} revocations is in force. Revoke by sub or "
                "video, or retire the signing key."
            )
        await self._publish(revocation)
        self._log.info("revoked", **_build_log_fields(revocation), before=before)
        return self._list.find(revocation.name) or revocation

    async def undo(self, kind: RevocationKind, value: str, *, issuer: str | None = None) -> None:
        """Undo a revocation on every instance. If that fails, raise Refusal and change nothing."""
        existing = self._list.find((kind, value, issuer))
        if existing is None or existing.is_undo:
            raise _build_invalid_refusal(f"No revocation of this {kind} is in force.")
        at = max(existing.at, int(self._clock.now()))
        undone = Revocation(kind=kind, value=value, issuer=issuer, before=at, at=at, is_undo=True)
        await self._publish(undone)
        self._log.info("revocation-undone", **_build_log_fields(undone))

    async def pull(self) -> None:
        """Read new revocations from the shared state; append those that the store has lost.

        Raises:
            StateError: the shared state does not respond.
        """
        position, is_whole, is_last = self._position, not self._position, False
        received, pages, is_full = RevocationList(), 0, False
        future_dated: dict[Name, Revocation] = {}
        while not is_last and pages < MAX_PAGES:
            page = await self._state.read(LOG_NAME, position)
            is_whole = is_whole or not page.is_continued
            for revocation in self._read_page(page.entries, future_dated):
                received.add(revocation)
                is_full = not self._list.add(revocation) or is_full
            position, is_last, pages = page.position, page.is_last, pages + 1
        for revocation in future_dated.values():
            received.add(revocation)
            is_full = not self._list.add(revocation) or is_full
        self._position = position
        if is_full:
            self._log.error("revocations-full", count=len(self._list))
        if not is_last:
            return  # too many entries for one pull; the list counts as out of date
        self._pulled_at = self._clock.monotonic()
        self._metrics.revocations_pulled.set(self._clock.now())
        self._drop_expired()
        expected = self._list if is_whole else self._unconfirmed
        self._unconfirmed = {entry for entry in expected if entry not in received}
        if is_whole and self._unconfirmed:
            self._log.warning("revocations-lost", count=len(self._unconfirmed))
        if self._unconfirmed:
            await self._append(self._unconfirmed)

    def check(self, video: VideoId, bearer: Claims | Session) -> None:
        """Refuse a revoked token or session.

        Raises:
            Refusal: `token-revoked`; `state-unavailable` if the list is out of date and
                `state.revocations_on_failure` is `deny`.
        """
        self._list.check(video, bearer)
        is_out_of_date = self.age > self._config.max_staleness * MAX_AGE_FACTOR
        if is_out_of_date and self._config.revocations_on_failure == "deny":
            raise Refusal(Reason.STATE_UNAVAILABLE, "the list of revocations is not up to date")

    def _choose_time(self, name: Name) -> int:
        """Return the current time, or a second after the last undo, which would win otherwise."""
        now, existing = int(self._clock.now()), self._list.find(name)
        return max(now, existing.at + 1) if existing and existing.is_undo else now

    async def _publish(self, revocation: Revocation) -> None:
        proven = self._proofs.prove(revocation)
        try:
            await self._append([proven])
        except StateError as error:
            raise Refusal(Reason.STATE_UNAVAILABLE, error.detail, message=NOT_PUBLISHED) from None
        self._list.add(proven)

    def _read_page(
        self, entries: Iterable[str], future_dated: dict[Name, Revocation]
    ) -> Iterator[Revocation]:
        """Yield the valid entries of a page, except unproven revocations dated in the future.

        The exceptions are collected in `future_dated`, with the current time instead of their own.
        They get a new time at every start, so comparing times cannot undo them: any proven undo
        that follows in the log removes them, whatever its time. Other entries for the same name
        still apply.
        """
        now = int(self._clock.now())
        for entry in entries:
            try:
                revocation = Revocation.from_json(entry)
            except ValueError:  # from another version of Playgate, or another writer
                continue
            if self._proofs.is_proven(revocation):
                if revocation.is_undo:
                    future_dated.pop(revocation.name, None)
                yield revocation
            elif not revocation.is_undo:
                clipped = revocation.clip_times(now, self.longest.leeway)
                if clipped.at == revocation.at:
                    yield clipped
                else:
                    future_dated[clipped.name] = clipped

    async def _append(self, revocations: Collection[Revocation]) -> None:
        if not self._state.is_shared:
            return
        entries = [revocation.to_json() for revocation in revocations]
        keep = self.longest.validity + self.longest.leeway
        await self._state.append(LOG_NAME, entries, keep=keep)
        self._unconfirmed.update(revocations)

    def _count_in_force(self) -> float:
        self._drop_expired()
        return sum(1 for _ in self._list.list_in_force())

    def _drop_expired(self) -> None:
        now, ticks = self._clock.now(), self._clock.monotonic()
        if abs(now - ticks - self._offset) > MAX_CLOCK_DRIFT_SECONDS:
            self._offset, self._stepped_at = now - ticks, ticks
        if ticks - self._stepped_at > CLOCK_STEP_PAUSE_SECONDS:
            self._list.drop_expired(now, self.longest)


def _build_log_fields(revocation: Revocation) -> dict[str, str | None]:
    value, kind = revocation.value, revocation.kind
    loggable = to_loggable_id(VideoId(value)) if kind == "video" else value
    return {"kind": kind, "value": loggable, "issuer": revocation.issuer}


def _build_invalid_refusal(message: str) -> Refusal:
    return Refusal(Reason.REQUEST_INVALID, message=message)
