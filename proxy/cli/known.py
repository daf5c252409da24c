"""What only edges know of a token: whether it was taken back, and where it was first used."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from functools import partial

import aiohttp

from proxy.adapters.clock import Clock
from proxy.adapters.logs import build_logger
from proxy.app import open_issuers, open_state
from proxy.cli.operator import PATIENCE, connected_to, host_of
from proxy.domain.access import Play
from proxy.domain.reasons import Refusal
from proxy.domain.revocations import FOREVER, KINDS, Kind, Revocation, RevocationList
from proxy.domain.tokens.claims import Claims
from proxy.domain.tokens.compact import read_compact
from proxy.domain.tokens.explain import Check, check_of
from proxy.domain.tokens.keyring import Keyring
from proxy.domain.tokens.verify import claimed_issuer, verify
from proxy.edge.first_use import FirstUse
from proxy.settings import Settings
from proxy.settings.listen import parse_listen
from proxy.wiring.instruments import build_instruments


async def fetched_keyring(settings: Settings, token: str, now: float) -> Keyring:
    """Return the keys of our own, and those of the token's issuer where it publishes them."""
    own = settings.tokens.keys_at(now)
    try:
        issuer = claimed_issuer(read_compact(token))
    except Refusal:
        return Keyring(own)
    instruments = build_instruments(build_logger(io.StringIO()), Clock())
    async with open_issuers(settings, instruments) as issuers:
        await issuers.learn(issuer)
        return Keyring(own, {name: it.keys for name, it in issuers.published.items()})


async def known_checks(
    settings: Settings, token: str, keyring: Keyring, play: Play
) -> AsyncIterator[Check]:
    """Yield what edges would find, where one can be asked."""
    try:
        claims = verify(token, keyring)
    except Refusal:
        return
    instruments = build_instruments(build_logger(io.StringIO()), Clock())
    async with open_state(settings, instruments) as shared:
        if shared.state.is_shared:
            listed = RevocationList()
            for revocation in shared.revocations.in_force():
                listed.add(revocation)
            is_known = shared.revocations.age < float("inf")
        else:
            asked = await _asked(settings)
            listed, is_known = asked or RevocationList(), asked is not None
        if is_known:
            yield check_of("revoked", partial(_check_revoked, listed, claims, play))
        else:
            yield Check(name="revoked", was_made=False)
        if not settings.tokens.first_use:
            return
        if play.viewer is None or not shared.state.is_shared:
            yield Check(name="first use", was_made=False)
            return
        first_use = FirstUse(shared.state, instruments.clock, on_failure="deny")
        try:
            await first_use.check(token, claims, play.viewer, binds=False)
        except Refusal as refusal:
            yield Check(name="first use", refusal=refusal)
        else:
            yield Check(name="first use")


def _check_revoked(listed: RevocationList, claims: Claims, play: Play) -> None:
    listed.check(
        video=play.video or claims.video,
        jti=claims.jti,
        subject=claims.subject,
        issued_at=claims.issued_at,
    )


async def _asked(settings: Settings) -> RevocationList | None:
    """Return what the edge on this machine says; None where none answers, or not to us."""
    listen, listed = parse_listen(settings.operator.listen), RevocationList()
    key = {"Authorization": f"Bearer {settings.operator.key.get_secret_value()}"}
    try:
        async with (
            connected_to(listen) as session,
            session.get(
                f"http://{host_of(listen)}/revocations", headers=key, timeout=PATIENCE
            ) as answer,
        ):
            told = (await answer.json(content_type=None))["revocations"]
            for entry in told:
                kind: Kind = next(kind for kind in KINDS if kind in entry)
                before = FOREVER if entry["before"] is None else int(entry["before"])
                until = int(entry["until"])
                listed.add(
                    Revocation(kind=kind, value=str(entry[kind]), before=before, until=until)
                )
    except (
        aiohttp.ClientError,
        TimeoutError,
        OSError,
        ValueError,
        KeyError,
        TypeError,
        StopIteration,
    ):
        return None
    return listed
