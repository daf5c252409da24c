"""Explain a token: what it says, every check that an edge makes, and the edge's answer."""

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
    """What there is to say of a token."""

    content: tuple[str, ...]  # header and claims, a line each
    results: tuple[CheckResult, ...]
    refusal: Refusal | None  # the edge's answer; None if it accepts the token
    conclusion: str


@dataclass(frozen=True, slots=True)
class PastedToken:
    """What somebody pasted: a token, and the video and its format if it came in a URL."""

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
    """Return what an edge with these settings makes of a token.

    `pasted` is the token, the URL that carries it, or an Authorization header; `video` is the URL's
    by default; `first_use` is the running edge's, if this is its process.
    """
    carried = read_pasted(pasted)
    asked = video or carried.video
    play = AccessRequest(
        now=Clock().now(),
        video=None if asked is None else VideoId(asked),
        format=carried.fmt,
        viewer=viewer,
    )
    keyring, trouble = await fetch_keyring(settings, carried.token, play.now)
    checks = list(check_request(settings, carried.token, play))
    if carried.token:
        checks += explain_token(carried.token, keyring, play, settings.tokens.policy)
        known = fetch_edge_checks(settings, carried.token, keyring, play, first_use)
        checks += [check async for check in known]
    payload = _read_payload(carried.token)
    findings = [_to_result(check, payload, play) for check in checks]
    if trouble:
        text = f"the keys of the token's issuer cannot be fetched: {trouble}"
        findings.insert(0, CheckResult(check="issuer", status="warn", text=text))
    refusal = next((check.refusal for check in checks if check.refusal is not None), None)
    return Explanation(
        content=tuple(describe_content(carried.token, play.now)),
        results=tuple(findings),
        refusal=refusal,
        conclusion=_conclude(refusal, checks, play),
    )


def read_pasted(text: str) -> PastedToken:
    """Take the token out of a play URL, a player page's URL, or a header."""
    text = text.strip().removeprefix("Authorization:").strip().removeprefix("Bearer ")
    if "/" not in text:
        return PastedToken(text)
    try:
        parts = urlsplit(text)
    except ValueError:  # such as an address in brackets that is none
        return PastedToken(text)
    name, _, ending = parts.path.rpartition("/")[2].partition(".")
    query = parse_qs(parts.query)
    carried = "".join(query.get("token", [])[:1]) or parts.fragment
    if "video_id" in query:  # /stream-urls
        is_file = all("h264" in field for field in query.get("formats", [""])[0].split(","))
        return PastedToken(carried, query["video_id"][0], "mp4" if is_file else "hls")
    return PastedToken(carried, name, "mp4" if ending == "mp4" else "hls")


def check_request(settings: Settings, token: str, play: AccessRequest) -> Iterator[TokenCheck]:
    """Yield what the edge checks of a request before it looks into the token."""
    if play.video is not None:
        pattern = re.compile(settings.platform.video_id_pattern)
        yield run_check("id", partial(parse_video_id, play.video, pattern))
    if play.viewer is not None:
        allowed = partial(
            check_viewer,
            play.viewer,
            settings.viewer.private,
            loopback_viewers=settings.sandbox,
        )
        yield run_check("viewer", allowed)
    yield run_check("token", partial(require_single_token, [token]))


def _read_payload(token: str) -> dict[str, object]:
    try:
        return read_compact(token).payload
    except Refusal:
        return {}


def describe_content(token: str, now: float) -> Iterator[str]:
    """Yield what the token says; whether to believe it is what the checks are for."""
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
                text += "; in milliseconds? NumericDates are seconds"
        yield f"{name:<6} {text}"


def _to_result(check: TokenCheck, payload: dict[str, object], play: AccessRequest) -> CheckResult:
    now = play.now
    if not check.was_run:
        needs_viewer = check.name == "first use" and play.viewer is None
        text = TEXTS["missing"]["network" if needs_viewer else check.name]
        return CheckResult(check=check.name, status="warn", text=text)
    expires_at = payload.get("exp")
    if check.name == "expiry" and isinstance(expires_at, int):
        is_over = check.refusal is not None
        when = f"{format_relative_time(expires_at, now)}, at {format_local_time(expires_at, now)}"
        text = f"token-expired: it expired {when}" if is_over else f"it expires {when}"
        return CheckResult(check=check.name, status="fail" if is_over else "ok", text=text)
    if check.refusal is None:
        return CheckResult(check=check.name, status="ok", text=TEXTS["passed"][check.name])
    detail = check.refusal.detail or check.refusal.message
    return CheckResult(check=check.name, status="fail", text=f"{check.refusal.reason}: {detail}")


def _conclude(refusal: Refusal | None, checks: list[TokenCheck], play: AccessRequest) -> str:
    if refusal is not None:
        reason: Reason = refusal.reason
        return f"The edge answers {reason.status} {reason}: {refusal.message}"
    given = {"a video": play.video, "a viewer's address": play.viewer}
    if missing := [name for name, value in given.items() if value is None]:
        return f"No check failed. Name {' and '.join(missing)} to check the rest."
    unknown = [check.name for check in checks if not check.was_run]
    beyond = f", as far as that can be checked from here (not checked: {', '.join(unknown)})"
    return f"The edge accepts it{beyond if unknown else ''}."


def format_local_time(moment: int, now: float) -> str:
    """Return a moment in local time, with the date if it is another day."""
    try:
        then, today = (datetime.fromtimestamp(it).astimezone() for it in (moment, now))
    except (OverflowError, ValueError, OSError):
        return f"{moment} s since 1970"
    return f"{then:%H:%M:%S}" if then.date() == today.date() else f"{then:%Y-%m-%d %H:%M:%S}"


def format_relative_time(moment: int, now: float) -> str:
    """Return how far a moment is from now, rounded, such as `4 minutes ago` or `in 2 hours`."""
    distance = abs(moment - int(now))
    size, unit = next((it for it in UNITS if distance >= it[0]), UNITS[-1])
    count = (distance + size // 2) // size
    amount = f"{count:,} {unit}{'' if count == 1 else 's'}"
    return f"in {amount}" if moment > now else f"{amount} ago"
