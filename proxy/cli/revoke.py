"""playgate revoke: take back tokens that are already out."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any

import aiohttp
import typer

from proxy.adapters.clock import Clock
from proxy.adapters.logs import build_logger
from proxy.cli import interrupts
from proxy.cli.operator import PATIENCE, connected_to, host_of
from proxy.cli.options import Config, fail, printable, settings_or_exit, video_or_exit, why
from proxy.domain.reasons import Refusal
from proxy.domain.revocations import FOREVER, KINDS, Kind, Revocation
from proxy.domain.tokens.claims import MAX_TEXT, VISIBLE
from proxy.settings import Settings
from proxy.settings.checks import MEMORY
from proxy.settings.listen import parse_listen
from proxy.wiring.instruments import build_instruments
from proxy.wiring.state import build_revocations, build_state

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
    """Take back tokens, and the relayed playbacks that they opened.

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
    ask = ask_edge if is_alone else tell_all
    revocation = interrupts.run(ask(settings, kind, value, moment))
    until = "" if revocation.before == FOREVER else f" issued until {shown(revocation.before)}"
    typer.echo(f"taken back: {MEANT[kind].format(value=printable(value))}{until}")
    when = "at once" if is_alone else f"within {settings.state.staleness:g} s by every instance"
    typer.echo(f"refused {when}; forgotten after {shown(revocation.until)}, when all have lapsed")


async def tell_all(settings: Settings, kind: Kind, value: str, before: int | None) -> Revocation:
    """Write it where every instance reads it."""
    instruments = build_instruments(build_logger(io.StringIO()), Clock())
    state = build_state(settings, instruments)
    try:
        revocations = build_revocations(settings, state, instruments)
        return await revocations.revoke(kind, value, before=before)
    except Refusal as refusal:
        fail(f"nothing was taken back: {why(refusal)}")
    finally:
        await state.close()


async def ask_edge(settings: Settings, kind: Kind, value: str, before: int | None) -> Revocation:
    """Have the one edge of this machine do it."""
    if not (key := settings.operator.key.get_secret_value()):
        fail("operator.key is not set: the edge takes revocations only from who shows it")
    listen = parse_listen(settings.operator.listen)
    body: dict[str, Any] = {kind: value} if before is None else {kind: value, "before": before}
    try:
        async with (
            connected_to(listen) as session,
            session.post(
                f"http://{host_of(listen)}/revocations",
                json=body,
                headers={"Authorization": f"Bearer {key}"},
                timeout=PATIENCE,
            ) as answer,
        ):
            told = await answer.json(content_type=None)
            if answer.status != HTTPStatus.CREATED:
                fail(f"nothing was taken back: {listen} answers: {printable(told['detail'])}")
            return Revocation(
                kind=kind, value=value, before=told["before"] or FOREVER, until=told["until"]
            )
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError, TypeError):
        fail(
            f"nothing was taken back: no edge answers at {listen}. With state.url = {MEMORY!r} "
            "only the edge itself knows, and its memory is gone when it stops"
        )


def moment_or_exit(text: str) -> int:
    """Return a moment in seconds since 1970, or say that it is none and exit with 1."""
    if text.isdecimal() and text.isascii():
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        fail("--before: must be like 2026-11-21T18:00:00Z, with its zone, or seconds since 1970")
    return int(moment.timestamp())


def shown(moment: int) -> str:
    """Return a moment as people read it."""
    return datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z")
