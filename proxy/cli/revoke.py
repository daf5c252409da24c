"""playgate revoke: take back tokens that are already out."""

from __future__ import annotations

import io
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any

import typer

from proxy.adapters.clock import Clock
from proxy.adapters.logs import build_logger
from proxy.cli import interrupts
from proxy.cli.operator import NoEdge, ask
from proxy.cli.options import (
    Config,
    fail,
    moment_of,
    printable,
    settings_or_exit,
    video_or_exit,
    why,
)
from proxy.domain.reasons import Refusal
from proxy.domain.revocations import FOREVER, KINDS, Kind
from proxy.domain.tokens.claims import MAX_TEXT, VISIBLE
from proxy.settings import Settings
from proxy.settings.checks import MEMORY
from proxy.wiring.instruments import build_instruments
from proxy.wiring.state import build_revocations, build_state

LONGEST_NUMBER = 12  # digits, of seconds since 1970

MEANT: dict[Kind, str] = {
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
    config: Config = None,
) -> None:
    """Revoke tokens, and the relayed playbacks they opened.

    With a shared state (state.url) every instance hears of it; an edge alone is asked on its
    operator port.
    """
    settings = settings_or_exit(config)
    given = dict(zip(KINDS, (jti, sub, video), strict=True))
    named = [(kind, value) for kind, value in given.items() if value is not None]
    if len(named) != 1:
        fail("name exactly one of --jti, --sub and --video")
    (kind, value), moment = named[0], None if before is None else moment_or_exit(before)
    if kind == "video":
        video_or_exit(settings, value, option="--video: ")
    elif VISIBLE.fullmatch(value) is None:
        fail(f"--{kind}: must be 1 to {MAX_TEXT} visible ASCII characters, as in the token")
    if kind == "jti" and moment is not None:
        fail("--before: a token's id is taken back whenever it was issued")
    is_alone = settings.state.url.get_secret_value() == MEMORY
    take_back = ask_edge if is_alone else tell_all
    until, forgotten_at = interrupts.run(take_back(settings, kind, value, moment))
    issued = "" if until is None else f" issued until {moment_of(until)}"
    typer.echo(f"taken back: {MEANT[kind].format(value=printable(value))}{issued}")
    when = (
        f"at once by the edge at {settings.operator.listen}"
        if is_alone
        else (
            f"within {settings.state.staleness:g} s by every instance that shares this state"
            f" (state.prefix {settings.state.prefix!r})"
        )
    )
    typer.echo(f"refused {when}; forgotten after {moment_of(forgotten_at)}, when all have lapsed")


# Until when what is taken back was issued, None for ever; and when that may be forgotten.
TakenBack = tuple[int | None, int]


async def tell_all(settings: Settings, kind: Kind, value: str, before: int | None) -> TakenBack:
    """Write it where every instance reads it."""
    instruments = build_instruments(build_logger(io.StringIO()), Clock())
    state = build_state(settings, instruments)
    try:
        revocations = build_revocations(settings, state, instruments)
        await revocations.pull()  # there is a bound to how many there may be
        made = await revocations.revoke(kind, value, before=before)
    except Refusal as refusal:
        fail(f"nothing was taken back: {why(refusal)}")
    finally:
        await state.close()
    until = None if made.before == FOREVER else made.before
    return until, made.concerns_until(revocations.longest)


async def ask_edge(settings: Settings, kind: Kind, value: str, before: int | None) -> TakenBack:
    """Have the one edge of this machine do it."""
    if not settings.operator.key.get_secret_value():
        fail("operator.key is not set: the edge takes revocations only from who shows it")
    body: dict[str, Any] = {kind: value} if before is None else {kind: value, "before": before}
    listen = settings.operator.listen
    try:
        status, told = await ask(settings, "/revocations", body=body)
        if status != HTTPStatus.CREATED:
            fail(f"nothing was taken back: {listen} answers: {printable(str(told['detail']))}")
        return told["before"], int(told["until"])
    except (NoEdge, KeyError, ValueError, TypeError):
        fail(
            f"nothing was taken back: no edge answers at {listen}. With state.url = {MEMORY!r} "
            "only the edge itself knows, and its memory is gone when it stops"
        )


def moment_or_exit(text: str) -> int:
    """Return a moment in seconds since 1970, or say that it is none and exit with 1."""
    if text.isdecimal() and text.isascii() and len(text) <= LONGEST_NUMBER:
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        fail("--before: must be like 2026-11-21T18:00:00Z, with its zone, or seconds since 1970")
    return int(moment.timestamp())
