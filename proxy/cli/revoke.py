"""playgate revoke: revoke tokens that were already issued."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated

import typer

from proxy.adapters.errors import StateError
from proxy.adapters.telemetry import build_telemetry
from proxy.cli.operator_client import EdgeNotRunning, call_edge
from proxy.cli.options import (
    Config,
    describe_failure,
    fail,
    format_time,
    load_settings_or_exit,
    parse_video_or_exit,
    run,
    to_printable,
)
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.revocations import REVOCATION_KINDS, RevocationKind
from proxy.domain.tokens.claims import MAX_TEXT_LENGTH, VISIBLE_TEXT
from proxy.settings import Settings
from proxy.settings.value_checks import MEMORY
from proxy.web.admin_api import RevocationRequest
from proxy.wiring import open_state

MAX_TIMESTAMP_DIGITS = 12  # of seconds since 1970

SUBJECT_TEXTS: dict[RevocationKind, str] = {
    "jti": "the token {value}",
    "sub": "all tokens of {value}",
    "video": "all tokens for video {value}",
}


def revoke(
    jti: Annotated[
        str | None, typer.Option(metavar="ID", help="The token with this ID (claim jti).")
    ] = None,
    sub: Annotated[
        str | None, typer.Option(metavar="NAME", help="Every token of this viewer (claim sub).")
    ] = None,
    video: Annotated[
        str | None, typer.Option(metavar="ID", help="Every token for this video.")
    ] = None,
    before: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Only tokens issued until TIME: 2026-11-21T18:00:00Z, or seconds since 1970. "
            "[default: now]",
        ),
    ] = None,
    issuer: Annotated[
        str | None,
        typer.Option(
            metavar="ISSUER",
            help="Only tokens of this issuer, with --jti or --sub. "
            "[default: tokens signed by your own keys]",
        ),
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Undo a revocation.")] = False,
    config: Config = None,
) -> None:
    """Revoke tokens, and the relayed playbacks they opened.

    With a shared state (state.url), this command writes to the shared state, and all instances
    read it. Otherwise it calls the edge on this machine on its operator port.
    """
    settings = load_settings_or_exit(config)
    options = dict(zip(REVOCATION_KINDS, (jti, sub, video), strict=True))
    named = [(kind, value) for kind, value in options.items() if value is not None]
    if len(named) != 1:
        fail("give exactly one of --jti, --sub and --video")
    (kind, value), moment = named[0], None if before is None else _parse_time_or_exit(before)
    if kind == "video":
        parse_video_or_exit(settings, value, option="--video: ")
    elif VISIBLE_TEXT.fullmatch(value) is None:
        fail(f"--{kind}: must be 1 to {MAX_TEXT_LENGTH} visible ASCII characters, as in the token")
    if moment is not None and (kind == "jti" or undo):
        fail(f"--before cannot be combined with --{'undo' if undo else 'jti'}: leave one out")
    if issuer is not None and (kind == "video" or VISIBLE_TEXT.fullmatch(issuer) is None):
        fail("--issuer: requires --jti or --sub, and 1 to 256 visible ASCII characters")
    request = RevocationRequest(**{kind: value}, issuer=issuer, before=moment, undo=undo)
    is_alone = settings.state.url.get_secret_value() == MEMORY
    times = run((_revoke_through_edge if is_alone else _revoke_on_all)(settings, request))
    tokens = SUBJECT_TEXTS[kind].format(value=to_printable(value))
    tokens += f" of issuer {issuer}" if issuer is not None else ""
    if times is None:
        typer.echo(f"revocation undone: {tokens}")
    else:
        until, deleted_at = times
        issued = "" if until is None else f" issued until {format_time(until)}"
        typer.echo(f"revoked: {tokens}{issued}")
    when = (
        f"at once, by the edge at {settings.operator.listen}"
        if is_alone
        else (
            f"within {settings.state.max_staleness:g} s, by every instance that shares this state"
            f" (state.prefix {settings.state.prefix!r})"
        )
    )
    if times is None:
        typer.echo(f"The revocation no longer applies: {when}.")
    else:
        typer.echo(f"The tokens are refused: {when}.")
        typer.echo(
            f"The revocation is deleted after {format_time(deleted_at)}, when all these tokens "
            "have expired."
        )


# The latest issue time of revoked tokens (None: any), and the time when the revocation is deleted,
# both in seconds since 1970. None for a revocation that was undone.
RevocationTimes = tuple[int | None, int] | None


async def _revoke_on_all(settings: Settings, request: RevocationRequest) -> RevocationTimes:
    try:
        async with open_state(settings, build_telemetry()) as (_, revocations):
            await revocations.pull()  # so that the limit on their number applies
            ((kind, value),) = request.get_name()
            if request.undo:
                await revocations.undo(kind, value, issuer=request.issuer)
                return None
            revocation = await revocations.revoke(
                kind, value, issuer=request.issuer, before=request.before
            )
    except Refusal as refusal:
        fail(f"nothing was changed: {describe_failure(refusal)}")
    except StateError as error:
        fail(f"nothing was changed: {Reason.STATE_UNAVAILABLE}: {error.detail}")
    until = None if revocation.kind == "jti" else revocation.before
    return until, revocation.compute_end(revocations.longest)


async def _revoke_through_edge(settings: Settings, request: RevocationRequest) -> RevocationTimes:
    if not settings.operator.key.get_secret_value():
        fail("Set operator.key to revoke through the edge.")
    body = request.model_dump(exclude_none=True)
    listen = settings.operator.listen
    try:
        status, response = await call_edge(settings, "/revocations", body=body)
        if status == HTTPStatus.OK:
            return None
        if status != HTTPStatus.CREATED:
            detail = to_printable(str(response["detail"]))
            fail(f"nothing was changed: the edge at {listen} refused: {detail}")
        return response["before"], int(response["until"])
    except (EdgeNotRunning, KeyError, ValueError, TypeError):
        fail(
            f"nothing was changed: no edge is running at {listen}. With state.url = {MEMORY!r}, "
            "revocations exist only in the memory of a running edge: start the edge, or set "
            "state.url to the URL of a Redis server"
        )


def _parse_time_or_exit(text: str) -> int:
    if text.isdecimal() and text.isascii() and len(text) <= MAX_TIMESTAMP_DIGITS:
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        fail(
            "--before: must be a time with a time zone, such as 2026-11-21T18:00:00Z, or seconds "
            "since 1970"
        )
    return int(moment.timestamp())
