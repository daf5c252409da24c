"""The command line `playgate`: one module for each command or group of commands."""

from collections.abc import Callable
from typing import Annotated

import typer

import proxy
from proxy.cli import (
    demo,
    embed,
    inspect,
    keys,
    login,
    options,
    revoke,
    serve,
    token,
    videos,
)
from proxy.cli.doctor import command
from proxy.cli.options import format_examples

app = typer.Typer(
    name="playgate",
    help="Play Dailymotion videos through stable, signed URLs.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help text, without boxes
    pretty_exceptions_enable=False,  # its tracebacks print local variables, which hold secrets
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=format_examples(
        "playgate demo",
        "playgate check-config --config playgate.toml",
        "playgate serve --config playgate.toml",
        "playgate COMMAND --help",
    ),
)
# fmt: off
COMMANDS: tuple[tuple[Callable[..., None], tuple[str, ...]], ...] = (
    (serve.serve, (
        "playgate serve", "PLAYGATE_LOG__LEVEL=warning playgate serve --config playgate.toml")),
    (demo.demo, (
        "playgate demo", "playgate demo --port 9080 --operator-port 9081 --sandbox-port 9090")),
    (serve.check_config, (
        "playgate check-config", "playgate check-config --config playgate.toml")),
    (command.doctor, ("playgate doctor", "playgate doctor --video x8abcd --ip 203.0.113.7")),
    (embed.embed, ("playgate embed x8abcd", "playgate embed x8abcd --only hls.js --mint")),
    (inspect.inspect, (
        "playgate inspect x8abcd", "playgate inspect index.m3u8",
        "playgate inspect - < index.m3u8")),
    (revoke.revoke, ("playgate revoke --sub viewer-7", "playgate revoke --jti TOKEN-ID")),
    (login.login, ("playgate login", "playgate login --paste")),
    (login.logout, ("playgate logout",)),
)
# fmt: on
for run_command, examples in COMMANDS:
    options.add_command(app, *examples)(run_command)
app.add_typer(token.app, name="token")
app.add_typer(keys.app, name="keys")
app.add_typer(videos.app, name="videos")


def print_version(is_given: bool) -> None:
    """Print the version and exit, if --version is given."""
    if is_given:
        typer.echo(f"playgate {proxy.__version__}")
        raise typer.Exit


@app.callback()
def playgate(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Accept the options that come before a command."""


def main() -> None:
    """Run the command line."""
    app()
