"""Say of a token, check by check, why it is or is not accepted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from proxy.domain.access import RULES, Play, TokenPolicy
from proxy.domain.reasons import Refusal
from proxy.domain.tokens.claims import read_claims
from proxy.domain.tokens.compact import read_compact
from proxy.domain.tokens.keyring import Keyring
from proxy.domain.tokens.verify import attributed, check_issuer, check_signature, claimed_issuer


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The outcome of one check; `refusal` is None where it passed."""

    name: str
    refusal: Refusal | None = None
    was_made: bool = True  # not where the caller did not say what to compare with


def explain(token: str, keyring: Keyring, play: Play, policy: TokenPolicy) -> Iterator[Check]:
    """Yield every check in the edge's order; the first with a refusal is the edge's answer.

    Unlike the edge it goes on after a refusal, as long as there is something left to look at.
    """
    try:
        compact = read_compact(token)
    except Refusal as refusal:
        yield Check(name="form", refusal=refusal)
        return
    yield Check(name="form")

    key = None
    try:
        key = keyring.find(compact.kid, claimed_issuer(compact))
    except Refusal as refusal:
        yield Check(name="key", refusal=refusal)
    else:
        yield Check(name="key")
        yield check_of("signature", partial(check_signature, compact, key))

    try:
        claims = read_claims(compact.payload)
    except Refusal as refusal:
        yield Check(name="claims", refusal=refusal)
        return
    yield Check(name="claims")
    if key is not None:
        yield check_of("issuer", partial(check_issuer, claims, key))
        claims = attributed(claims, key)
    told = {"video": play.video is not None, "network": play.viewer is not None}
    for rule in RULES:
        if told.get(rule.name, True):
            yield check_of(rule.name, partial(rule.check, claims, play, policy))
        else:
            yield Check(name=rule.name, was_made=False)


def check_of(name: str, check: Callable[[], object]) -> Check:
    """Make a check and keep its outcome."""
    try:
        check()
    except Refusal as refusal:
        return Check(name=name, refusal=refusal)
    return Check(name=name)
