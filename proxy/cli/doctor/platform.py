"""Dailymotion: the clock, the credentials, and what they may do."""

from collections.abc import AsyncGenerator
from dataclasses import replace

from yarl import URL

from proxy.adapters.dailymotion.account_api import AccountApi
from proxy.adapters.dailymotion.api_responses import to_refusal
from proxy.adapters.dailymotion.refresh_token_grant import (
    TOKEN_TIMEOUT_SECONDS,
    is_exchange_running,
)
from proxy.adapters.errors import UpstreamError
from proxy.cli.account import build_client
from proxy.cli.doctor.results import CheckContext, build_result, fail_with_refusal
from proxy.cli.options import CheckResult
from proxy.domain.clock_skew import measure_skew
from proxy.domain.reasons import Refusal

MAX_CLOCK_SKEW_SECONDS = 5.0  # seconds; what tokens.leeway forgives a signer by default
LARGE_CLOCK_SKEW_SECONDS = 60.0  # seconds
ECHO_MESSAGE = "Playgate"


async def check_clock(visit: CheckContext) -> AsyncGenerator[CheckResult, None]:
    """Compare this machine's clock with the API's Date."""
    clock, rest_url = visit.process.telemetry.clock, visit.settings.platform.endpoints.rest_url
    before = clock.now()
    try:
        url = URL(rest_url) / "echo"
        http = visit.process.dailymotion.http
        answer = await http.send("account", "GET", url, deadline=visit.compute_deadline)
    except UpstreamError as error:
        yield fail_with_refusal("clock", to_refusal(error))
        return
    date = answer.headers.get("Date", "")
    yield assess_clock(measure_skew(date, asked_at=before, answered_at=clock.now()))


def assess_clock(ahead: float | None) -> CheckResult:
    """Say how far this machine's clock is off, in seconds; None where nobody can tell."""
    if ahead is None:
        return build_result("no-date")
    if abs(ahead) <= MAX_CLOCK_SKEW_SECONDS:
        return build_result("clock-agrees")
    off = build_result("clock-ahead" if ahead > 0 else "clock-behind", seconds=abs(ahead))
    return off if abs(ahead) <= LARGE_CLOCK_SKEW_SECONDS else replace(off, status="fail")


async def check_account(visit: CheckContext) -> AsyncGenerator[CheckResult, None]:
    """Get an access token, and ask what it is good for."""
    settings = visit.settings.platform
    try:
        token = await visit.process.dailymotion.tokens.get_token()
    except Refusal as refusal:
        yield fail_with_refusal("credentials", refusal)
        if is_exchange_running():
            yield build_result("renewal-goes-on", patience=TOKEN_TIMEOUT_SECONDS)
        return
    yield build_result("credentials-good", grant=settings.grant)
    if settings.api == "v2":
        return  # it has neither /auth nor /echo
    client = build_client(visit.process.dailymotion.http, token, visit.process.telemetry)
    account = AccountApi(client, settings.endpoints.rest_url)
    try:
        identity = await account.fetch_identity()
        missing = set(settings.endpoints.scope.split()) - set(identity.scopes)
        yield build_result(
            "scopes-missing" if missing else "scopes-good",
            account=identity.channel_id or "unnamed",
            scopes=", ".join(identity.scopes) or "none",
            roles=f"; roles: {', '.join(identity.roles)}" if identity.roles else "",
            missing=", ".join(sorted(missing)),
        )
    except Refusal as refusal:
        yield fail_with_refusal("scopes", refusal)
    try:
        echoed = await account.echo(ECHO_MESSAGE)
    except Refusal as refusal:
        yield fail_with_refusal("echo", refusal)
        return
    yield build_result("echo-good" if echoed == ECHO_MESSAGE else "echo-differs")
