"""Dailymotion: the clock, the credentials, and what they may do."""

from collections.abc import AsyncGenerator
from dataclasses import replace

from yarl import URL

from proxy.adapters.dailymotion.account import AccountApi
from proxy.adapters.dailymotion.api_responses import refusal_of
from proxy.adapters.dailymotion.stored_login import PATIENCE, is_seen_through
from proxy.adapters.errors import UpstreamError
from proxy.cli.account import build_client
from proxy.cli.doctor.findings import Visit, found, refused
from proxy.cli.options import Finding
from proxy.domain.clock_skew import seconds_ahead
from proxy.domain.reasons import Refusal

TOLERATED = 5.0  # seconds; what tokens.leeway forgives a signer by default
FAR_OFF = 60.0  # seconds
MESSAGE = "Playgate"


async def look_at_clock(visit: Visit) -> AsyncGenerator[Finding, None]:
    """Compare this machine's clock with the API's Date."""
    clock, rest_url = visit.process.telemetry.clock, visit.settings.platform.endpoints.rest_url
    before = clock.now()
    try:
        url = URL(rest_url) / "echo"
        http = visit.process.dailymotion.http
        answer = await http.send("account", "GET", url, deadline=visit.deadline)
    except UpstreamError as error:
        yield refused("clock", refusal_of(error))
        return
    date = answer.headers.get("Date", "")
    yield judge_clock(seconds_ahead(date, asked_at=before, answered_at=clock.now()))


def judge_clock(ahead: float | None) -> Finding:
    """Say how far this machine's clock is off, in seconds; None where nobody can tell."""
    if ahead is None:
        return found("no-date")
    if abs(ahead) <= TOLERATED:
        return found("clock-agrees")
    off = found("clock-ahead" if ahead > 0 else "clock-behind", seconds=abs(ahead))
    return off if abs(ahead) <= FAR_OFF else replace(off, status="fail")


async def look_at_account(visit: Visit) -> AsyncGenerator[Finding, None]:
    """Get an access token, and ask what it is good for."""
    settings = visit.settings.platform
    try:
        token = await visit.process.dailymotion.tokens.current()
    except Refusal as refusal:
        yield refused("credentials", refusal)
        if is_seen_through():
            yield found("renewal-goes-on", patience=PATIENCE)
        return
    yield found("credentials-good", grant=settings.grant)
    if settings.api == "v2":
        return  # it has neither /auth nor /echo
    client = build_client(visit.process.dailymotion.http, token, visit.process.telemetry)
    account = AccountApi(client, settings.endpoints.rest_url)
    try:
        identity = await account.fetch_identity()
        missing = set(settings.endpoints.scope.split()) - set(identity.scopes)
        yield found(
            "scopes-missing" if missing else "scopes-good",
            account=identity.channel_id or "unnamed",
            scopes=", ".join(identity.scopes) or "none",
            roles=f"; roles: {', '.join(identity.roles)}" if identity.roles else "",
            missing=", ".join(sorted(missing)),
        )
    except Refusal as refusal:
        yield refused("scopes", refusal)
    try:
        echoed = await account.echo(MESSAGE)
    except Refusal as refusal:
        yield refused("echo", refusal)
        return
    yield found("echo-good" if echoed == MESSAGE else "echo-differs")
