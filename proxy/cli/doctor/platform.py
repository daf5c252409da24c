"""Check Dailymotion's API: the clock, the credentials and their scopes."""

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

MAX_CLOCK_SKEW_SECONDS = 5.0  # the default of tokens.leeway
LARGE_CLOCK_SKEW_SECONDS = 60.0  # more than this is a failure
ECHO_MESSAGE = "Playgate"


async def check_clock(context: CheckContext) -> AsyncGenerator[CheckResult, None]:
    """Compare this machine's clock with the Date header of an API response."""
    clock, rest_url = context.process.telemetry.clock, context.settings.platform.endpoints.rest_url
    before = clock.now()
    try:
        url = URL(rest_url) / "echo"
        http = context.process.dailymotion.http
        response = await http.send("account", "GET", url, deadline=context.deadline)
    except UpstreamError as error:
        yield fail_with_refusal("clock", to_refusal(error))
        return
    date = response.headers.get("Date", "")
    yield assess_clock(measure_skew(date, sent_at=before, received_at=clock.now()))


def assess_clock(ahead: float | None) -> CheckResult:
    """Assess how many seconds this machine's clock is ahead; None means unknown."""
    if ahead is None:
        return build_result("no-date")
    if abs(ahead) <= MAX_CLOCK_SKEW_SECONDS:
        return build_result("clock-agrees")
    off = build_result("clock-ahead" if ahead > 0 else "clock-behind", seconds=abs(ahead))
    return off if abs(ahead) <= LARGE_CLOCK_SKEW_SECONDS else replace(off, status="fail")


async def check_account(context: CheckContext) -> AsyncGenerator[CheckResult, None]:
    """Fetch an access token, and check its scopes and that the API accepts it."""
    settings = context.settings.platform
    try:
        token = await context.process.dailymotion.tokens.get_token()
    except Refusal as refusal:
        yield fail_with_refusal("credentials", refusal)
        if is_exchange_running():
            yield build_result("refresh-in-progress", timeout=TOKEN_TIMEOUT_SECONDS)
        return
    yield build_result("credentials-good", grant=settings.grant)
    if settings.api == "v2":
        return  # API v2 has neither /auth nor /echo
    client = build_client(context.process.dailymotion.http, token, context.process.telemetry)
    account = AccountApi(client, settings.endpoints.rest_url)
    try:
        info = await account.fetch_token_info()
        missing = set(settings.endpoints.scope.split()) - set(info.scopes)
        yield build_result(
            "scopes-missing" if missing else "scopes-good",
            account=info.channel_id or "unnamed",
            scopes=", ".join(info.scopes) or "none",
            roles=f"; roles: {', '.join(info.roles)}" if info.roles else "",
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
