"""Explain a token: its claims, the result of every check, and whether an edge accepts it."""

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from importlib.resources import files
from urllib.parse import parse_qs, urlsplit

from proxy.adapters.clock import Clock
from proxy.cli.operator_client import fetch_edge_checks, fetch_keyring
from proxy.cli.options import CheckResult
from proxy.domain.access import AccessRequest, TokenCheck, run_check
from proxy.domain.access import explain as explain_token
from proxy.domain.client_ip import Address, check_viewer
from proxy.domain.formats import Format
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.tokens.compact import read_compact, require_single_token
from proxy.domain.video import VideoId, parse_video_id
from proxy.edge.admission import FirstUse
from proxy.settings import Settings

MIN_MILLISECONDS = 10**11  # as seconds, that is the year 5138
TIME_CLAIMS = ("iat", "nbf", "exp")  # claims that are NumericDates
UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))
TEXTS = tomllib.loads((files("proxy.cli") / "explanations.toml").read_text("utf-8"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The explanation of a token."""

    content: tuple[str, ...]  # the kid and the claims, one line each
    results: tuple[CheckResult, ...]
    refusal: Refusal | None  # None if the edge accepts the token
    conclusion: str


@dataclass(frozen=True, slots=True)
class PastedToken:
    """A token, and the video and format if the token was part of a URL."""

    token: str
    video: str | None = None
    fmt: Format = "hls"


async def explain(
    settings: Settings,
    pasted: str,
    *,
    video: str | None,
    viewer: Address | None,
    first_use: FirstUse | None = None,
) -> Explanation:
    """Explain whether an edge with these settings accepts a token, and why.

    `pasted` is a token, a URL with a token, or an Authorization header. `video` defaults to the
    video in the URL. `first_use` is the running edge's if this is its process.
    """
    parsed = parse_pasted(pasted)
    video_id = video or parsed.video
    play = AccessRequest(
        now=Clock().now(),
        video=None if video_id is None else VideoId(video_id),
        format=parsed.fmt,
        viewer=viewer,
    )
    keyring, issuer_error = await fetch_keyring(settings, parsed.token, play.now)
    checks = list(check_request(settings, parsed.token, play))
    if parsed.token:
        checks += explain_token(parsed.token, keyring, play, settings.tokens.policy)
        edge_checks = fetch_edge_checks(settings, parsed.token, keyring, play, first_use)
        checks += [check async for check in edge_checks]
    payload = _read_payload(parsed.token)
    results = [_to_result(check, payload, play) for check in checks]
    if issuer_error:
        text = f"the keys of the token's issuer cannot be fetched: {issuer_error}"
        results.insert(0, CheckResult(check="issuer", status="warn", text=text))
    refusal = next((check.refusal for check in checks if check.refusal is not None), None)
    return Explanation(
        content=tuple(describe_content(parsed.token, play.now)),
        results=tuple(results),
        refusal=refusal,
        conclusion=_conclude(refusal, checks, play),
    )


def parse_pasted(text: str) -> PastedToken:
    """Extract the token from a play URL, a player page's URL, or an Authorization header."""
    text = text.strip().removeprefix("Authorization:").strip().removeprefix("Bearer ")
    if "/" not in text:
        return PastedToken(text)
    try:
        parts = urlsplit(text)
    except ValueError:  # such as an invalid IPv6 address in brackets
        return PastedToken(text)
    name, _, ending = parts.path.rpartition("/")[2].partition(".")
    query = parse_qs(parts.query)
    token = "".join(query.get("token", [])[:1]) or parts.fragment
    if "video_id" in query:  # /stream-urls
        is_file = all("h264" in field for field in query.get("formats", [""])[0].split(","))
        return PastedToken(token, query["video_id"][0], "mp4" if is_file else "hls")
    return PastedToken(token, name, "mp4" if ending == "mp4" else "hls")


def check_request(settings: Settings, token: str, play: AccessRequest) -> Iterator[TokenCheck]:
    """Yield the checks of a request that come before the checks of the token's content."""
    if play.video is not None:
        pattern = re.compile(settings.platform.video_id_pattern)
        yield run_check("id", partial(parse_video_id, play.video, pattern))
    if play.viewer is not None:
        check = partial(
            check_viewer,
            play.viewer,
            settings.viewer.private,
            loopback_viewers=settings.sandbox,
        )
        yield run_check("viewer", check)
    yield run_check("token", partial(require_single_token, [token]))


def _read_payload(token: str) -> dict[str, object]:
    try:
        return read_compact(token).payload
    except Refusal:
        return {}


def describe_content(token: str, now: float) -> Iterator[str]:
    """Yield one line for the kid and for each claim, whether or not they are valid."""
    try:
        compact = read_compact(token)
    except Refusal:
        return
    yield f"{'kid':<6} {compact.kid}"
    for name, value in compact.payload.items():
        text = json.dumps(value, ensure_ascii=False)
        if name in TIME_CLAIMS and isinstance(value, int):
            text = f"{format_local_time(value, now)} ({format_relative_time(value, now)})"
            if value > MIN_MILLISECONDS:
                text += "; this looks like milliseconds, but JWT times are in seconds"
        yield f"{name:<6} {text}"


def _to_result(check: TokenCheck, payload: dict[str, object], play: AccessRequest) -> CheckResult:
    now = play.now
    if not check.was_run:
        needs_viewer = check.name == "first use" and play.viewer is None
        text = TEXTS["missing"]["network" if needs_viewer else check.name]
        return CheckResult(check=check.name, status="warn", text=text)
    expires_at = payload.get("exp")
    if check.name == "expiry" and isinstance(expires_at, int):
        is_expired = check.refusal is not None
        time = f"{format_relative_time(expires_at, now)}, at {format_local_time(expires_at, now)}"
        text = f"token-expired: it expired {time}" if is_expired else f"it expires {time}"
        return CheckResult(check=check.name, status="fail" if is_expired else "ok", text=text)
    if check.refusal is None:
        return CheckResult(check=check.name, status="ok", text=TEXTS["passed"][check.name])
    detail = check.refusal.detail or check.refusal.message
    return CheckResult(check=check.name, status="fail", text=f"{check.refusal.reason}: {detail}")


def _conclude(refusal: Refusal | None, checks: list[TokenCheck], play: AccessRequest) -> str:
    if refusal is not None:
        reason: Reason = refusal.reason
        return f"The edge refuses the play with {reason.status} {reason}: {refusal.message}"
    options = {"--video": play.video, "--ip": play.viewer}
    if missing := [name for name, value in options.items() if value is None]:
        return f"No check failed. Add {' and '.join(missing)} to run the other checks."
    skipped = [check.name for check in checks if not check.was_run]
    condition = f" if it also passes the checks that cannot be run here: {', '.join(skipped)}"
    return f"The edge accepts this token{condition if skipped else ''}."


def format_local_time(moment: int, now: float) -> str:
    """Format a time as local time, with the date if it is not today."""
    try:
        then, today = (datetime.fromtimestamp(value).astimezone() for value in (moment, now))
    except (OverflowError, ValueError, OSError):
        return f"{moment} s since 1970"
    return f"{then:%H:%M:%S}" if then.date() == today.date() else f"{then:%Y-%m-%d %H:%M:%S}"


def format_relative_time(moment: int, now: float) -> str:
    """Format a time relative to now, rounded, such as `4 minutes ago` or `in 2 hours`."""
    distance = abs(moment - int(now))
    size, unit = next((entry for entry in UNITS if distance >= entry[0]), UNITS[-1])
    count = (distance + size // 2) // size
    amount = f"{count:,} {unit}{'' if count == 1 else 's'}"
    return f"in {amount}" if moment > now else f"{amount} ago"
