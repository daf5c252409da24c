"""Tokens that are taken back before they lapse, and the sessions that they opened."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from proxy.domain.reasons import Reason, Refusal

Kind = Literal["jti", "sub", "video"]
KINDS: tuple[Kind, ...] = get_args(Kind)

FOREVER = 2**53  # beyond every iat that a token may have


@dataclass(frozen=True, slots=True, kw_only=True)
class Longest:
    """For how long a token may be good, with what it began in its last second; whole seconds.

    `leeway` is how far ahead of ours its signer's clock may be.
    """

    validity: int
    leeway: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """Every token of one name that was issued in time; times in whole seconds since 1970.

    Attributes:
        kind: the claim that names the tokens; `video` stands for plays of a video, too, that a
            token for all videos would open.
        value: what it must be.
        before: tokens whose `iat` is later are not meant.
        at: when it was made.
    """

    kind: Kind
    value: str
    before: int
    at: int

    def concerns_until(self, longest: Longest) -> int:
        """Return when nothing that it concerns can still be valid, so that it may be forgotten."""
        last_issued = min(self.before, self.at + longest.leeway)
        return last_issued + longest.validity + 1

    def to_json(self) -> str:
        """Return it as instances tell each other."""
        return json.dumps([self.kind, self.value, self.before, self.at], separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Revocation:
        """Return what an instance told.

        Raises:
            ValueError: it is none.
        """
        try:
            members = json.loads(text)
        except RecursionError:
            raise ValueError("not a revocation") from None
        if not isinstance(members, list) or len(members) != len(cls.__slots__):
            raise ValueError("not a revocation")
        kind, value, before, at = members
        is_named = kind in KINDS and isinstance(value, str)
        is_timed = all(type(moment) is int and 0 <= moment <= FOREVER for moment in (before, at))
        if not is_named or not is_timed:
            raise ValueError("not a revocation")
        return cls(kind=kind, value=value, before=before, at=at)


class RevocationList:
    """The revocations in force. They only ever grow in reach, so that the order of news is nought.

    Of two for the same name, the one that reaches further counts, and the later one is kept.
    """

    def __init__(self) -> None:
        self._entries: dict[tuple[Kind, str], Revocation] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Revocation]:
        return iter(list(self._entries.values()))

    def add(self, told: Revocation) -> Revocation:
        """Take a revocation in; return what is in force now for its name."""
        name = told.kind, told.value
        known = self._entries.get(name, told)
        entry = Revocation(
            kind=told.kind,
            value=told.value,
            before=max(told.before, known.before),
            at=max(told.at, known.at),
        )
        self._entries[name] = entry
        return entry

    def __contains__(self, told: Revocation) -> bool:
        known = self._entries.get((told.kind, told.value))
        return known is not None and known.before >= told.before and known.at >= told.at

    def forget(self, now: float, longest: Longest) -> None:
        """Drop what concerns nothing any more."""
        for name, entry in list(self._entries.items()):
            if entry.concerns_until(longest) <= now:
                del self._entries[name]

    def check(self, *, video: str, jti: str | None, subject: str | None, issued_at: int) -> None:
        """Refuse what was taken back."""
        names: tuple[tuple[Kind, str | None], ...] = (
            ("jti", jti),
            ("sub", subject),
            ("video", video),
        )
        for kind, value in names:
            entry = None if value is None else self._entries.get((kind, value))
            if entry is not None and issued_at <= entry.before:
                raise Refusal(Reason.TOKEN_REVOKED, f"by {kind}")
