"""Query the edge on this machine through its operator port; read the state of all edges."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import aiohttp

from proxy.adapters.telemetry import build_telemetry
from proxy.domain.access import AccessRequest, TokenCheck, run_check
from proxy.domain.client_ip import Address
from proxy.domain.play_request import PlayRequest
from proxy.domain.reasons import Refusal
from proxy.domain.revocations import REVOCATION_KINDS, Revocation, RevocationKind, RevocationList
from proxy.domain.tokens.claims import Claims, read_claimed_issuer, verify
from proxy.domain.tokens.compact import read_compact
from proxy.domain.tokens.keyring import Keyring
from proxy.domain.video import VideoId
from proxy.edge.admission import FirstUse
from proxy.edge.revocations import Revocations
from proxy.settings import Settings
from proxy.settings.value_checks import ListenAddress, parse_listen
from proxy.wiring import open_issuers, open_state

EDGE_TIMEOUT = aiohttp.ClientTimeout(total=10)  # seconds


class EdgeNotRunning(Exception):
    """No edge responds on the operator port."""


async def call_edge(
    settings: Settings, path: str, *, body: dict[str, Any] | None = None
) -> tuple[int, dict[str, Any]]:
    """Send a GET, or a POST with a body, to the operator port; return the status and the JSON.

    Raises:
        EdgeNotRunning: No edge responds.
    """
    listen = parse_listen(settings.operator.listen)
    try:
        async with (
            open_session(listen) as session,
            session.request(
                "GET" if body is None else "POST",
                f"http://{format_host(listen)}{path}",
                json=body,
                headers={"Authorization": f"Bearer {settings.operator.key.get_secret_value()}"},
                timeout=EDGE_TIMEOUT,
            ) as response,
        ):
            members = await response.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        raise EdgeNotRunning from None
    if not isinstance(members, dict):
        raise EdgeNotRunning
    return response.status, members


def open_session(listen: ListenAddress) -> aiohttp.ClientSession:
    """Open a session to a listen address, which may be a Unix socket."""
    return aiohttp.ClientSession(
        connector=aiohttp.UnixConnector(listen.path) if listen.path else None
    )


def format_host(listen: ListenAddress) -> str:
    """Format a listen address as the host and port of a URL."""
    if listen.path:
        return "localhost"
    loopback = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(listen.host)
    return f"{loopback}:{listen.port}" if loopback else str(listen)


async def fetch_keyring(settings: Settings, token: str, now: float) -> tuple[Keyring, str]:
    """Return the edge's own keys and those of the token's issuer, and the error in fetching these.

    The error is empty if the issuer's keys were fetched, or if the token names no known issuer.
    """
    own = settings.tokens.list_keys(now)
    try:
        issuer = read_claimed_issuer(read_compact(token)) or ""
    except Refusal:
        return Keyring(own), ""
    async with open_issuers(settings, build_telemetry()) as issuers:
        await issuers.fetch_unknown_key(issuer)
        error = issuers.published[issuer].error if issuer in issuers.published else ""
        published = {name: issuer_keys.keys for name, issuer_keys in issuers.published.items()}
        return Keyring(own, published, settings.tokens.issuer_videos), error


async def fetch_edge_checks(
    settings: Settings,
    token: str,
    keyring: Keyring,
    play: AccessRequest,
    first_use: FirstUse | None = None,
) -> AsyncIterator[TokenCheck]:
    """Yield the checks that need an edge or the shared state: revocations and the first use.

    `first_use` is the running edge's if this is its process; otherwise the shared state is used.
    """
    try:
        claims = verify(token, keyring)
    except Refusal:
        return
    telemetry = build_telemetry()
    async with open_state(settings, telemetry) as (state, revocations):
        revoked: Revocations | RevocationList | None
        if state.is_shared:
            revoked = revocations if revocations.age < float("inf") else None
        else:
            revoked = await _fetch_revocations(settings)
        if revoked is not None:
            yield run_check("revoked", partial(_check_revocations, revoked, claims, play))
        else:
            yield TokenCheck(name="revoked", was_run=False)
        if not settings.tokens.bind_on_first_use or claims.network is not None:
            return  # the first use does not bind this token
        if first_use is None and state.is_shared:
            on_failure = settings.state.first_use_on_failure
            first_use = FirstUse(state, telemetry.clock, on_failure=on_failure)
        if play.viewer is None or first_use is None:
            yield TokenCheck(name="first use", was_run=False)
            return
        try:
            await first_use.bind(_build_head_request(token, claims, play.viewer), claims)
        except Refusal as refusal:
            yield TokenCheck(name="first use", refusal=refusal)
        else:
            yield TokenCheck(name="first use")


def _check_revocations(
    revoked: Revocations | RevocationList, claims: Claims, play: AccessRequest
) -> None:
    revoked.check(play.video or VideoId(claims.video), claims)


def _build_head_request(token: str, claims: Claims, viewer: Address) -> PlayRequest:
    """Build a HEAD request, which does not bind the token to the viewer's network."""
    return PlayRequest(
        video=VideoId(claims.video),
        viewer=viewer,
        client_ip=None,
        formats=(),
        method="HEAD",
        token=token,
    )


async def _fetch_revocations(settings: Settings) -> RevocationList | None:
    """Return the revocations of the edge on this machine; None if no edge accepts the request."""
    revocations = RevocationList()
    try:
        _, response = await call_edge(settings, "/revocations")
        for entry in response["revocations"]:
            kind: RevocationKind = next(kind for kind in REVOCATION_KINDS if kind in entry)
            revocations.add(
                Revocation(
                    kind=kind,
                    value=str(entry[kind]),
                    issuer=entry["issuer"],
                    before=int(entry["before"] or 0),
                    at=int(entry["until"]),
                )
            )
    except (EdgeNotRunning, ValueError, KeyError, TypeError, StopIteration):
        return None
    return revocations
