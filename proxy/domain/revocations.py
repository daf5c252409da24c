"""Revocation of tokens before they expire, and of the relay sessions that they opened."""

import hmac
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, Self, get_args

from proxy.domain.reasons import Reason, Refusal
from proxy.domain.seal import Session
from proxy.domain.tokens.claims import MAX_TIMESTAMP, VISIBLE_TEXT, Claims

RevocationKind = Literal["jti", "sub", "video"]
REVOCATION_KINDS: tuple[RevocationKind, ...] = get_args(RevocationKind)
Name = tuple[RevocationKind, str, str | None]  # kind, value, issuer

MAX_REVOCATIONS = 100_000  # names; to revoke more tokens, remove their signing key

PROOF = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidityLimit:
    """How long a token can have an effect; in whole seconds.

    Attributes:
        validity: the longest time from a token's `iat` to the end of the last session that it
            opened.
        leeway: how far the signer's clock may be ahead of this edge's clock.
    """

    validity: int
    leeway: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """Revokes all tokens with one claim value; times in whole seconds since 1970.

    Attributes:
        kind: the claim to compare; `video` also revokes plays of the video with tokens for all
            videos.
        value: the revoked value of the claim.
        issuer: the issuer of the revoked tokens, for `jti` and `sub`, because issuers choose these
            values independently. None means tokens signed with the operator's own keys.
        before: the latest revoked `iat`. A `jti` is revoked regardless of its `iat`.
        at: when the revocation was created.
        is_undo: whether this entry undoes the revocations of the name created up to `at`.
        proof: the HMAC that proves that an instance created this entry; see `RevocationProofs`.
    """

    kind: RevocationKind
    value: str
    before: int
    at: int
    issuer: str | None = None
    is_undo: bool = False
    proof: str = ""

    @property
    def name(self) -> Name:
        """The key of this entry: kind, value and issuer."""
        return self.kind, self.value, self.issuer

    def compute_end(self, limit: ValidityLimit) -> int:
        """Return when the last affected token has expired, so that the entry can be dropped."""
        is_limited = self.kind != "jti" and not self.is_undo
        last_issued = self.at + limit.leeway
        return (min(self.before, last_issued) if is_limited else last_issued) + limit.validity + 1

    def clip_times(self, now: int, leeway: int) -> Self:
        """Return a copy with plausible times: another writer of the state may have forged them."""
        at = self.at if self.at <= now + leeway + 1 else now
        return replace(self, before=min(self.before, at + leeway), at=at)

    def to_json(self) -> str:
        """Return the JSON text that instances exchange."""
        members = [self.kind, self.value, self.issuer, self.before, self.at, self.is_undo]
        return json.dumps([*members, self.proof], separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Parse a revocation from the JSON text in the shared log.

        Raises:
            ValueError: the text is not a revocation.
        """
        try:
            members = json.loads(text)
        except RecursionError:
            raise ValueError("not a revocation") from None
        if not isinstance(members, list) or len(members) != len(cls.__slots__):
            raise ValueError("not a revocation")
        kind, value, issuer, before, at, is_undo, proof = members
        names = [value] if issuer is None else [value, issuer]
        has_valid_name = kind in REVOCATION_KINDS and all(
            isinstance(name, str) and VISIBLE_TEXT.fullmatch(name) is not None for name in names
        )
        has_valid_times = all(
            type(time) is int and 0 <= time <= MAX_TIMESTAMP for time in (before, at)
        )
        has_valid_proof = isinstance(proof, str) and (
            not proof or PROOF.fullmatch(proof) is not None
        )
        is_valid = has_valid_name and has_valid_times and has_valid_proof
        if not is_valid or not isinstance(is_undo, bool):
            raise ValueError("not a revocation")
        return cls(
            kind=kind,
            value=value,
            issuer=issuer,
            before=before,
            at=at,
            is_undo=is_undo,
            proof=proof,
        )


class RevocationProofs:
    """Distinguishes entries of instances from those of other writers of the state, with an HMAC.

    A revocation without a valid proof still counts, with its times clipped, until the operator
    undoes it: ignoring it could make a revoked token valid. An undoing without a valid proof does
    not count.
    """

    def __init__(self, secret: str) -> None:
        """Derive the HMAC key from a secret that only the instances know."""
        self._key = hmac.digest(secret.encode(), b"playgate revocation 1", "sha256")

    def prove(self, revocation: Revocation) -> Revocation:
        """Return a copy with a proof."""
        return replace(revocation, proof=self._compute_proof(revocation))

    def is_proven(self, revocation: Revocation) -> bool:
        """Check whether an instance created the entry."""
        return hmac.compare_digest(revocation.proof, self._compute_proof(revocation))

    def _compute_proof(self, revocation: Revocation) -> str:
        content = replace(revocation, proof="").to_json().encode()
        return hmac.digest(self._key, content, "sha256").hex()


class RevocationList:
    """Keeps one entry per name, at most `MAX_REVOCATIONS` names.

    Two revocations of a name merge: the greatest `before` and the greatest `at` count. If an entry
    undoes the other, the later entry counts. The order of arrival does not change the result.
    """

    def __init__(self) -> None:
        self._entries: dict[Name, Revocation] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Revocation]:
        return iter(list(self._entries.values()))

    def list_in_force(self) -> Iterator[Revocation]:
        """Yield the entries that revoke a name."""
        return (entry for entry in self if not entry.is_undo)

    def find(self, name: Name) -> Revocation | None:
        """Return the entry of a name, even if it is undone; None without one."""
        return self._entries.get(name)

    def add(self, revocation: Revocation) -> bool:
        """Merge an entry into the list; return False if the list is full and lacks the name."""
        known = self._entries.get(revocation.name)
        if known is None and len(self._entries) >= MAX_REVOCATIONS:
            return False
        self._entries[revocation.name] = revocation if known is None else _merge(known, revocation)
        return True

    def __contains__(self, revocation: Revocation) -> bool:
        known = self._entries.get(revocation.name)
        return known is not None and _merge(known, revocation) == known

    def drop_expired(self, now: float, limit: ValidityLimit) -> None:
        """Drop the entries whose affected tokens have all expired."""
        for name, entry in list(self._entries.items()):
            if entry.compute_end(limit) <= now:
                del self._entries[name]

    def check(self, video: str, source: Claims | Session) -> None:
        """Check that the token that allows a play, or opened its session, is not revoked.

        Args:
            video: the ID of the played video.
            source: the claims of the token, or the session that the token opened.

        Raises:
            Refusal: `token-revoked`.
        """
        names: tuple[tuple[RevocationKind, str | None, str | None], ...] = (
            ("jti", source.jti, source.issuer),
            ("sub", source.subject, source.issuer),
            ("video", video, None),
        )
        for kind, value, issuer in names:
            entry = None if value is None else self._entries.get((kind, value, issuer))
            if entry is None or entry.is_undo:
                continue
            if kind == "jti" or source.issued_at <= entry.before:
                raise Refusal(Reason.TOKEN_REVOKED, f"a revocation of this {kind} is in force")


def _merge(known: Revocation, revocation: Revocation) -> Revocation:
    if known.is_undo or revocation.is_undo:
        later, earlier = (known, revocation) if known.at > revocation.at else (revocation, known)
        # Within one second the undoing wins: a new revocation always gets a later `at`.
        return earlier if later.at == earlier.at and earlier.is_undo else later
    merged = replace(
        known, before=max(revocation.before, known.before), at=max(revocation.at, known.at)
    )
    # If an original entry equals the merged one, return it, because its proof stays valid.
    for entry in sorted((known, revocation), key=lambda candidate: not candidate.proof):
        if (entry.before, entry.at) == (merged.before, merged.at):
            return entry
    return replace(merged, proof="")
