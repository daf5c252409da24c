"""playgate revoke: take back tokens that are already out."""

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

MAX_TIMESTAMP_DIGITS = 12  # digits, of seconds since 1970

SUBJECTS: dict[RevocationKind, str] = {
    "jti": "the token {value}",
    "sub": "all tokens of {value}",
    "video": "all tokens for video {value}",
}


def revoke(
    jti: Annotated[str | None, typer.Option(metavar="ID", help="The token of this id.")] = None,
    sub: Annotated[
        str | None, typer.Option(metavar="NAME", help="Every token of this viewer.")
    ] = None,
    video: Annotated[
        str | None, typer.Option(metavar="ID", help="Every token for this video.")
    ] = None,
    before: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Only what was issued until then: 2026-11-21T18:00:00Z, or seconds since 1970. "
            "[default: now]",
        ),
    ] = None,
    issuer: Annotated[
        str | None,
        typer.Option(
            metavar="ISSUER", help="Whose --jti or --sub it is. [default: your own keys' tokens]"
        ),
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Undo a revocation.")] = False,
    config: Config = None,
) -> None:
    """Revoke tokens, and the relayed playbacks they opened.

    With a shared state (state.url) every instance hears of it; an edge alone is asked on its
    operator port.
    """
    settings = load_settings_or_exit(config)
    given = dict(zip(REVOCATION_KINDS, (jti, sub, video), strict=True))
    named = [(kind, value) for kind, value in given.items() if value is not None]
    if len(named) != 1:
        fail("name exactly one of --jti, --sub and --video")
    (kind, value), moment = named[0], None if before is None else _parse_time_or_exit(before)
    if kind == "video":
        parse_video_or_exit(settings, value, option="--video: ")
    elif VISIBLE_TEXT.fullmatch(value) is None:
        fail(f"--{kind}: must be 1 to {MAX_TEXT_LENGTH} visible ASCII characters, as in the token")
    if moment is not None and (kind == "jti" or undo):
        fail(f"--before: not beside --{'undo' if undo else 'jti'}")
    if issuer is not None and (kind == "video" or VISIBLE_TEXT.fullmatch(issuer) is None):
        fail("--issuer: must be an issuer's name, beside --jti or --sub")
    wanted = RevocationRequest(**{kind: value}, issuer=issuer, before=moment, undo=undo)
    is_alone = settings.state.url.get_secret_value() == MEMORY
    made = run((_revoke_through_edge if is_alone else _revoke_on_all)(settings, wanted))
    meant = SUBJECTS[kind].format(value=to_printable(value))
    meant += f" of issuer {issuer}" if issuer is not None else ""
    if made is None:
        typer.echo(f"revocation undone: {meant}")
    else:
        until, forgotten_at = made
        issued = "" if until is None else f" issued until {format_time(until)}"
        typer.echo(f"revoked: {meant}{issued}")
    when = (
        f"at once by the edge at {settings.operator.listen}"
        if is_alone
        else (
            f"within {settings.state.max_staleness:g} s by every instance that shares this state"
            f" (state.prefix {settings.state.prefix!r})"
        )
    )
    if made is None:
        typer.echo(f"accepted {when}")
    else:
        forgotten = f"forgotten after {format_time(forgotten_at)}, when all have expired"
        typer.echo(f"refused {when}; {forgotten}")


# Until when revoked tokens were issued, None for all, and when that may be forgotten; None for an
# undone revocation.
RevocationTimes = tuple[int | None, int] | None


async def _revoke_on_all(settings: Settings, wanted: RevocationRequest) -> RevocationTimes:
    try:
        async with open_state(settings, build_telemetry()) as (_, revocations):
            await revocations.pull()  # there is a bound to how many there may be
            ((kind, value),) = wanted.get_name()
            if wanted.undo:
                await revocations.undo(kind, value, issuer=wanted.issuer)
                return None
            made = await revocations.revoke(kind, value, issuer=wanted.issuer, before=wanted.before)
    except Refusal as refusal:
        fail(f"nothing was changed: {describe_failure(refusal)}")
    except StateError as error:
        fail(f"nothing was changed: {Reason.STATE_UNAVAILABLE}: {error.detail}")
    until = None if made.kind == "jti" else made.before
    return until, made.compute_end(revocations.longest)


async def _revoke_through_edge(settings: Settings, wanted: RevocationRequest) -> RevocationTimes:
    if not settings.operator.key.get_secret_value():
        fail("Set operator.key to revoke through the edge.")
    body = wanted.model_dump(exclude_none=True)
    listen = settings.operator.listen
    try:
        status, told = await call_edge(settings, "/revocations", body=body)
        if status == HTTPStatus.OK:
            return None
        if status != HTTPStatus.CREATED:
            fail(f"nothing was changed: {listen} answers: {to_printable(str(told['detail']))}")
        return told["before"], int(told["until"])
    except (EdgeNotRunning, KeyError, ValueError, TypeError):
        fail(
            f"nothing was changed: no edge answers at {listen}. With state.url = {MEMORY!r} "
            "only the edge itself knows, and its memory is gone when it stops"
        )


def _parse_time_or_exit(text: str) -> int:
    if text.isdecimal() and text.isascii() and len(text) <= MAX_TIMESTAMP_DIGITS:
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        fail("--before: must be like 2026-11-21T18:00:00Z, with its zone, or seconds since 1970")
    return int(moment.timestamp())
