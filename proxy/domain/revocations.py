"""Tokens that are revoked before they expire, and the relay sessions that they opened."""

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

MAX_REVOCATIONS = 100_000  # names; to revoke more tokens than that, retire their key

PROOF = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidityLimit:
    """For how long a token may be valid, with what it began in its last second; whole seconds.

    `leeway` is how far ahead of ours its signer's clock may be.
    """

    validity: int
    leeway: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """Revokes every token of one name; times in whole seconds since 1970.

    Attributes:
        kind: the claim that names the tokens; `video` also stands for plays of a video that a
            token for all videos would open.
        value: what the claim must be.
        issuer: whose tokens are meant, for `jti` and `sub`: issuers name their viewers and tokens
            independently. None means tokens signed with the operator's own keys.
        before: tokens whose `iat` is later are not meant. A `jti` is revoked whatever its `iat`.
        at: when it was made.
        is_undone: whether this undoes the revocations of the name that were made until `at`.
        proof: that an instance made it; see `Proofs`.
    """

    kind: RevocationKind
    value: str
    before: int
    at: int
    issuer: str | None = None
    is_undone: bool = False
    proof: str = ""

    @property
    def name(self) -> Name:
        """Return what it names."""
        return self.kind, self.value, self.issuer

    def compute_end(self, limit: ValidityLimit) -> int:
        """Return when every token that it concerns has expired, so that it may be forgotten."""
        is_limited = self.kind != "jti" and not self.is_undone
        last_issued = self.at + limit.leeway
        return (min(self.before, last_issued) if is_limited else last_issued) + limit.validity + 1

    def clip_times(self, now: int, leeway: int) -> Self:
        """Return it with times that are possible: another writer of the state may invent others."""
        at = self.at if self.at <= now + leeway + 1 else now
        return replace(self, before=min(self.before, at + leeway), at=at)

    def to_json(self) -> str:
        """Return it as instances exchange it."""
        members = [self.kind, self.value, self.issuer, self.before, self.at, self.is_undone]
        return json.dumps([*members, self.proof], separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what another instance wrote.

        Raises:
            ValueError: not a revocation.
        """
        try:
            members = json.loads(text)
        except RecursionError:
            raise ValueError("not a revocation") from None
        if not isinstance(members, list) or len(members) != len(cls.__slots__):
            raise ValueError("not a revocation")
        kind, value, issuer, before, at, is_undone, proof = members
        names = [value] if issuer is None else [value, issuer]
        is_named = kind in REVOCATION_KINDS and all(
            isinstance(name, str) and VISIBLE_TEXT.fullmatch(name) is not None for name in names
        )
        is_timed = all(
            type(moment) is int and 0 <= moment <= MAX_TIMESTAMP for moment in (before, at)
        )
        is_proven = isinstance(proof, str) and (not proof or PROOF.fullmatch(proof) is not None)
        if not is_named or not is_timed or not isinstance(is_undone, bool) or not is_proven:
            raise ValueError("not a revocation")
        return cls(
            kind=kind,
            value=value,
            issuer=issuer,
            before=before,
            at=at,
            is_undone=is_undone,
            proof=proof,
        )


class RevocationProofs:
    """Tells what instances made from what another writer of the state made, by an HMAC.

    Without a proof a revocation counts, its dates clipped, until the operator undoes it: one that
    was not believed would make a token good. An undoing without a proof does not count.
    """

    def __init__(self, secret: str) -> None:
        """Prove with what all instances know, and nobody else."""
        self._key = hmac.digest(secret.encode(), b"playgate revocation 1", "sha256")

    def prove(self, revocation: Revocation) -> Revocation:
        """Return it with its proof."""
        return replace(revocation, proof=self._compute_proof(revocation))

    def is_proven(self, revocation: Revocation) -> bool:
        """Say whether an instance made it."""
        return hmac.compare_digest(revocation.proof, self._compute_proof(revocation))

    def _compute_proof(self, revocation: Revocation) -> str:
        content = replace(revocation, proof="").to_json().encode()
        return hmac.digest(self._key, content, "sha256").hex()


class RevocationList:
    """The latest news of every name, at most `MAX_REVOCATIONS`; the order of arrival is irrelevant.

    Of two revocations of one name, the one that reaches further counts, and the later one is kept.
    """

    def __init__(self) -> None:
        self._entries: dict[Name, Revocation] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Revocation]:
        return iter(list(self._entries.values()))

    def list_in_force(self) -> Iterator[Revocation]:
        """Yield what is revoked."""
        return (entry for entry in self if not entry.is_undone)

    def find(self, name: Name) -> Revocation | None:
        """Return what is known of a name, an undone revocation too."""
        return self._entries.get(name)

    def add(self, revocation: Revocation) -> bool:
        """Add news of a name; return False if the list is full and the name is not in it."""
        known = self._entries.get(revocation.name)
        if known is None and len(self._entries) >= MAX_REVOCATIONS:
            return False
        self._entries[revocation.name] = revocation if known is None else _merge(known, revocation)
        return True

    def __contains__(self, news: Revocation) -> bool:
        known = self._entries.get(news.name)
        return known is not None and _merge(known, news) == known

    def drop_expired(self, now: float, limit: ValidityLimit) -> None:
        """Drop what concerns nothing any more."""
        for name, entry in list(self._entries.items()):
            if entry.compute_end(limit) <= now:
                del self._entries[name]

    def check(self, video: str, whose: Claims | Session) -> None:
        """Refuse what is revoked: plays of a video with a token, or in a session that it opened."""
        names: tuple[tuple[RevocationKind, str | None, str | None], ...] = (
            ("jti", whose.jti, whose.issuer),
            ("sub", whose.subject, whose.issuer),
            ("video", video, None),
        )
        for kind, value, issuer in names:
            entry = None if value is None else self._entries.get((kind, value, issuer))
            if entry is None or entry.is_undone:
                continue
            if kind == "jti" or whose.issued_at <= entry.before:
                raise Refusal(Reason.TOKEN_REVOKED, f"by {kind}")


def _merge(known: Revocation, revocation: Revocation) -> Revocation:
    if known.is_undone or revocation.is_undone:
        later, earlier = (known, revocation) if known.at > revocation.at else (revocation, known)
        # At the same second the undoing counts: a new revocation is dated later than that.
        return earlier if later.at == earlier.at and earlier.is_undone else later
    merged = replace(
        known, before=max(revocation.before, known.before), at=max(revocation.at, known.at)
    )
    for one in sorted(
        (known, revocation), key=lambda it: not it.proof
    ):  # a proven one where it will do
        if (one.before, one.at) == (merged.before, merged.at):
            return one
    return replace(merged, proof="")
