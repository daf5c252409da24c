"""The command `playgate`: one file per command family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

import typer

import proxy
from proxy.cli import (
    check_config,
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
from proxy.cli.options import examples

app = typer.Typer(
    name="playgate",
    help="A stable, signed src URL in front of Dailymotion's per-viewer stream URLs.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: no boxes, no types of flags
    pretty_exceptions_enable=False,  # its tracebacks print local variables, and with them secrets
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "playgate demo",
        "playgate check-config --config playgate.toml",
        "playgate serve --config playgate.toml",
        "playgate COMMAND --help",
    ),
)
COMMANDS: Mapping[str, tuple[Callable[..., None], tuple[str, ...]]] = {
    "serve": (
        serve.serve,
        ("playgate serve", "PLAYGATE_LOG__LEVEL=warning playgate serve --config playgate.toml"),
    ),
    "demo": (
        demo.demo,
        ("playgate demo", "playgate demo --port 9080 --operator-port 9081 --sandbox-port 9090"),
    ),
    "check-config": (
        check_config.check_config,
        ("playgate check-config", "playgate check-config --config playgate.toml"),
    ),
    "doctor": (
        command.doctor,
        ("playgate doctor", "playgate doctor --video x8abcd --ip 203.0.113.7"),
    ),
    "embed": (embed.embed, ("playgate embed x8abcd", "playgate embed x8abcd --only hls.js --mint")),
    "inspect": (
        inspect.inspect,
        (
            "playgate inspect x8abcd",
            "playgate inspect index.m3u8",
            "playgate inspect - < index.m3u8",
        ),
    ),
    "revoke": (
        revoke.revoke,
        ("playgate revoke --sub viewer-7", "playgate revoke --jti TOKEN-ID"),
    ),
    "login": (login.login, ("playgate login", "playgate login --paste")),
    "logout": (login.logout, ("playgate logout",)),
}
for name, (run, shown) in COMMANDS.items():
    options.command(app, *shown, name=name)(run)
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
