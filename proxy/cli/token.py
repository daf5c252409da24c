"""playgate token: make tokens, and understand them."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from proxy.adapters.clock import Clock
from proxy.app import build_keyring, build_minting, build_policy
from proxy.cli.options import Config, fail, settings_or_exit
from proxy.domain.access import Play
from proxy.domain.client_ip import parse_address, parse_network
from proxy.domain.reasons import Refusal
from proxy.domain.tokens.explain import explain as explain_token
from proxy.domain.video import VideoId

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
    url: Annotated[
        bool, typer.Option("--url", help="Print the whole play URL (needs web.public_url).")
    ] = False,
    config: Config = None,
) -> None:
    """Print a signed token, or the whole play URL, and nothing else."""
    settings = settings_or_exit(config)
    minting = build_minting(settings, build_keyring(settings), Clock())
    try:
        network = None if ip is None else parse_network(ip)
        minted = minting.mint(video=video, ttl=ttl, network=network, subject=sub)
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
        str | None, typer.Option(metavar="ID", help="Would it open this video?")
    ] = None,
    ip: Annotated[
        str | None, typer.Option(metavar="IP", help="… for a viewer at this address?")
    ] = None,
    config: Config = None,
) -> None:
    """Print every check of a token and the first that fails; exit 1 if one does."""
    settings = settings_or_exit(config)
    viewer = None if ip is None else parse_address(ip)
    if ip is not None and viewer is None:
        fail(f"--ip: {ip!r} is not an address")
    play = Play(
        now=Clock().now(),
        video=None if video is None else VideoId(video),
        format="hls",
        viewer=viewer,
    )
    token = token.partition("token=")[2].partition("&")[0] or token

    table = Table(box=None, show_header=False, pad_edge=False)
    first: Refusal | None = None
    for check in explain_token(token, build_keyring(settings), play, build_policy(settings)):
        refusal = check.refusal
        first = first or refusal
        passed = "[green]ok[/]" if refusal is None else "[red]no[/]"
        table.add_row(
            passed, check.name, "" if refusal is None else f"{refusal.reason}: {refusal.detail}"
        )
    console = Console(soft_wrap=True, highlight=False)
    console.print(table)
    for name, value in (("video", video), ("network", ip)):
        if value is None:
            console.print(
                f"[dim]{name} not compared; give --{'ip' if name == 'network' else name}[/]"
            )
    if first is not None:
        console.print(f"\nThe edge answers {first.reason.status} {first.reason}: {first.message}")
        raise typer.Exit(1)
    console.print("\nThe edge accepts it.")
