"""The command `playgate`: one file per command family."""

from __future__ import annotations

from typing import Annotated

import typer

import proxy
from proxy.cli import check_config, demo, embed, inspect, keys, login, revoke, serve, token, videos
from proxy.cli.doctor import command

app = typer.Typer(
    name="playgate",
    help="A stable, signed src URL in front of Dailymotion's per-viewer stream URLs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # its tracebacks print local variables, and with them secrets
)
app.command("serve")(serve.serve)
app.command("demo")(demo.demo)
app.command("check-config")(check_config.check_config)
app.command("login")(login.login)
app.command("logout")(login.logout)
app.command("doctor")(command.doctor)
app.command("revoke")(revoke.revoke)
app.command("embed")(embed.embed)
app.command("inspect")(inspect.inspect)
app.add_typer(token.app, name="token")
app.add_typer(keys.app, name="keys")
app.add_typer(videos.app, name="videos")


def print_version(wanted: bool) -> None:
    """Print the version and leave."""
    if wanted:
        typer.echo(f"playgate {proxy.__version__}")
        raise typer.Exit


@app.callback()
def playgate(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Take the options that stand before a command."""


def main() -> None:
    """Run the command line."""
    app()
