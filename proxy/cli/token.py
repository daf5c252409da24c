"""playgate token: make tokens, and understand them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated
from urllib.parse import parse_qs, urlsplit

import typer
from rich.markup import escape

from proxy.adapters.clock import Clock
from proxy.cli import interrupts
from proxy.cli.known import fetched_keyring, known_checks
from proxy.cli.options import Config, address_or_exit, fail, printable, say, settings_or_exit
from proxy.domain.access import Play
from proxy.domain.client_ip import parse_network, public_viewer
from proxy.domain.formats import Format
from proxy.domain.playlist.variants import Limits
from proxy.domain.reasons import Refusal
from proxy.domain.tokens.compact import read_compact, the_one_token
from proxy.domain.tokens.explain import Check, check_of
from proxy.domain.tokens.explain import explain as explain_token
from proxy.domain.video import VideoId, parse_video_id
from proxy.settings import Settings
from proxy.wiring.edge import build_minting, build_policy

app = typer.Typer(help="Make tokens, and understand them.", no_args_is_help=True)


@app.command()
def mint(
    video: Annotated[str, typer.Option(metavar="ID", help="The video, or * for every one.")],
    ttl: Annotated[
        int | None, typer.Option(metavar="S", help="Seconds to live. [default: tokens.default_ttl]")
    ] = None,
    ip: Annotated[
        str | None, typer.Option(metavar="NET", help="Bind it to an address or a network.")
    ] = None,
    sub: Annotated[
        str | None, typer.Option(metavar="S", help="The viewer, by any name of yours.")
    ] = None,
    fmt: Annotated[
        list[str] | None,
        typer.Option(metavar="FMT", help="Allow only this format, hls or mp4; may be repeated."),
    ] = None,
    max_height: Annotated[
        int | None,
        typer.Option(metavar="PX", min=1, help="No variant higher than this; it is relayed."),
    ] = None,
    max_bandwidth: Annotated[
        int | None, typer.Option(metavar="BPS", min=1, help="… or of more bits per second.")
    ] = None,
    url: Annotated[
        bool, typer.Option("--url", help="Print the whole play URL (needs web.public_url).")
    ] = False,
    config: Config = None,
) -> None:
    """Print a signed token, or the whole play URL, and nothing else."""
    settings = settings_or_exit(config)
    minting = build_minting(settings, Clock())
    try:
        network = None if ip is None else parse_network(ip)
        limits = Limits(max_height=max_height, max_bandwidth=max_bandwidth)
        minted = minting.mint(
            video=video, ttl=ttl, network=network, subject=sub, formats=fmt or (), limits=limits
        )
    except ValueError:
        fail(f"--ip: {ip!r} is neither an address nor a network such as 203.0.113.0/24")
    except Refusal as refusal:
        fail(refusal.message)
    if url and minted.url is None:
        fail("--url needs web.public_url in the settings, and one video rather than *")
    typer.echo(minted.url if url else minted.token)


@app.command()
def explain(
    token: Annotated[str, typer.Argument(help="The token, or the URL that carries it.")],
    video: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Would it open this video? [default: the URL's]"),
    ] = None,
    ip: Annotated[
        str | None, typer.Option(metavar="IP", help="… for a viewer at this address?")
    ] = None,
    config: Config = None,
) -> None:
    """Print what a token says, every check and the first that fails; exit 1 if one does."""
    settings = settings_or_exit(config)
    viewer = None if ip is None else address_or_exit(ip)
    carried = read_carrier(token)
    asked = video or carried.video
    play = Play(
        now=Clock().now(),
        video=None if asked is None else VideoId(asked),
        format=carried.fmt,
        viewer=viewer,
    )
    show_content(carried.token, play.now)
    first = None
    checks = interrupts.run(all_checks(settings, carried.token, play))
    for check in checks:
        first = first or check.refusal
        show_check(check)
    if first is not None:
        say(f"\nThe edge answers {first.reason.status} {first.reason}: {first.message}")
        raise typer.Exit(1)
    if play.video is None or play.viewer is None:
        say("\nNothing is wrong with it so far; give --video and --ip for the rest.")
    else:
        unknown = [check.name for check in checks if not check.was_made]
        beyond = f", as far as that can be told from here (not: {', '.join(unknown)})"
        say(f"\nThe edge accepts it{beyond if unknown else ''}.")


async def all_checks(settings: Settings, token: str, play: Play) -> list[Check]:
    """Return every check, in the edge's order."""
    keyring, trouble = await fetched_keyring(settings, token, play.now)
    if trouble:
        say(f"The keys of the token's issuer cannot be had: {escape(printable(trouble))}\n")
    return [
        *request_checks(settings, token, play),
        *explain_token(token, keyring, play, build_policy(settings)),
        *[check async for check in known_checks(settings, token, keyring, play)],
    ]


@dataclass(frozen=True, slots=True)
class Carrier:
    """What somebody pasted: a token, and the video and its format where it came in a URL."""

    token: str
    video: str | None = None
    fmt: Format = "hls"


def read_carrier(text: str) -> Carrier:
    """Take the token out of a play URL, a player page's URL, or a header."""
    text = text.strip().removeprefix("Authorization:").strip().removeprefix("Bearer ")
    if "/" not in text:
        return Carrier(text)
    parts = urlsplit(text)
    name, _, ending = parts.path.rpartition("/")[2].partition(".")
    query = parse_qs(parts.query)
    carried = "".join(query.get("token", [])[:1]) or parts.fragment
    if "video_id" in query:  # /stream-urls
        is_file = all("h264" in field for field in query.get("formats", [""])[0].split(","))
        return Carrier(carried, query["video_id"][0], "mp4" if is_file else "hls")
    return Carrier(carried, name, "mp4" if ending == "mp4" else "hls")


def request_checks(settings: Settings, token: str, play: Play) -> Iterator[Check]:
    """Yield what the edge checks of a request before it looks into the token."""
    if play.video is not None:
        pattern = re.compile(settings.platform.video_id_pattern)
        yield check_of("id", partial(parse_video_id, play.video, pattern))
    if play.viewer is not None:
        allowed = partial(
            public_viewer,
            play.viewer,
            settings.viewer.private,
            loopback_viewers=settings.sandbox,
        )
        yield check_of("viewer", allowed)
    yield check_of("token", partial(the_one_token, [token]))


def show_content(token: str, now: float) -> None:
    """Print what the token says; whether to believe it is what the checks are for."""
    try:
        compact = read_compact(token)
    except Refusal:
        return
    say(f"kid    {escape(str(compact.kid))}")
    for name, value in compact.payload.items():
        when = ""
        if name in {"iat", "nbf", "exp"} and type(value) is int:
            when = f"  ({value - now:+.0f} s from now)"
        say(escape(f"{name:<6} {json.dumps(value)}{when}"))
    say("")


def show_check(check: Check) -> None:
    """Print the outcome of one check."""
    if not check.was_made:
        say(f"[dim]-   {check.name:<10} not compared[/]")
    elif check.refusal is None:
        say(f"[green]ok[/]  {check.name}")
    else:
        detail = escape(f"{check.refusal.reason}: {check.refusal.detail}".removesuffix(": "))
        say(f"[red]no[/]  {check.name:<10} {detail}")
