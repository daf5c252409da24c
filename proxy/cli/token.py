"""playgate token: mint tokens, and explain why a token is accepted or refused."""

from typing import Annotated

import typer
from rich.markup import escape

from proxy.adapters.clock import Clock
from proxy.cli import token_explanation
from proxy.cli.options import (
    Config,
    add_command,
    fail,
    load_settings_or_exit,
    parse_address_or_exit,
    print_markup,
    print_result,
    run,
    to_printable,
)
from proxy.domain.client_ip import parse_network
from proxy.domain.reasons import Refusal
from proxy.domain.variant_limits import VariantLimits
from proxy.edge.token_minter import TokenMinter

app = typer.Typer(
    help="Mint tokens, and explain why a token is refused.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@add_command(
    app,
    "playgate token mint --video x8abcd",
    "playgate token mint --video x8abcd --ttl 600 --sub viewer-7 --url",
)
def mint(
    video: Annotated[str, typer.Option(metavar="ID", help="The video's ID, or * for every video.")],
    ttl: Annotated[
        int | None,
        typer.Option(metavar="S", help="Lifetime in seconds. [default: tokens.default_ttl]"),
    ] = None,
    ip: Annotated[
        str | None,
        typer.Option(metavar="NET", help="Bind the token to an IP address or a network."),
    ] = None,
    sub: Annotated[
        str | None, typer.Option(metavar="S", help="Your name for the viewer, such as a user ID.")
    ] = None,
    fmt: Annotated[
        list[str] | None,
        typer.Option(metavar="FMT", help="Allow only this format, hls or mp4. Can be repeated."),
    ] = None,
    max_height: Annotated[
        int | None,
        typer.Option(
            metavar="PX",
            min=1,
            help="Omit variants taller than PX pixels. The play is relayed.",
        ),
    ] = None,
    max_bandwidth: Annotated[
        int | None,
        typer.Option(
            metavar="BPS",
            min=1,
            help="Omit variants above BPS bits per second. The play is relayed.",
        ),
    ] = None,
    url: Annotated[
        bool,
        typer.Option("--url", help="Print the play URL with the token (needs web.public_url)."),
    ] = False,
    config: Config = None,
) -> None:
    """Print a new signed token, or a play URL with the token.

    Prints nothing else, so that a script can use the output.
    """
    settings = load_settings_or_exit(config)
    minter = TokenMinter(settings, Clock())
    try:
        network = None if ip is None else parse_network(ip)
        limits = VariantLimits(max_height=max_height, max_bandwidth=max_bandwidth)
        minted = minter.mint(
            video=video, ttl=ttl, network=network, subject=sub, formats=fmt or (), limits=limits
        )
    except ValueError:
        fail(f"--ip: {ip!r} is neither an address nor a network such as 203.0.113.0/24")
    except Refusal as refusal:
        fail(refusal.message)
    if url and minted.url is None:
        needed = (
            "web.public_url in the settings" if video != "*" else "a single video ID instead of *"
        )
        fail(f"--url needs {needed}")
    typer.echo(minted.url if url else minted.token)


@add_command(
    app,
    "playgate token explain 'https://play.example.com/play/x8abcd.m3u8?token=…'",
    "playgate token explain eyJhbGciOi… --video x8abcd --ip 203.0.113.7",
)
def explain(
    token: Annotated[str, typer.Argument(help="The token, or a URL that contains it.")],
    video: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="Check access to this video. [default: the video in the URL]"
        ),
    ] = None,
    ip: Annotated[
        str | None, typer.Option(metavar="IP", help="Check access for a viewer at this IP address.")
    ] = None,
    config: Config = None,
) -> None:
    """Print the claims of a token and the result of every check.

    Exit 1 if a check fails.
    """
    settings = load_settings_or_exit(config)
    viewer = None if ip is None else parse_address_or_exit(ip)
    explanation = run(token_explanation.explain(settings, token, video=video, viewer=viewer))
    for line in explanation.content:
        print_markup(escape(to_printable(line)))
    if explanation.content:
        print_markup("")
    for result in explanation.results:
        print_result(result)
    print_markup(f"\n{escape(explanation.conclusion)}")
    raise typer.Exit(explanation.refusal is not None)
