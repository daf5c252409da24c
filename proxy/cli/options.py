"""What every command takes, and how every command fails."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from proxy.domain.reasons import Refusal
from proxy.settings import Settings, SettingsInvalid, load_settings
from proxy.settings.sources import CONFIG_VARIABLE

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        envvar=CONFIG_VARIABLE,
        metavar="FILE",
        help="The settings file (TOML). Without it, defaults and the environment.",
    ),
]


def settings_or_exit(config: Path | None, *, for_edge: bool = True) -> Settings:
    """Return the settings, or say everything that is wrong with them and exit with 1."""
    try:
        return load_settings(config, for_edge=for_edge)
    except SettingsInvalid as invalid:
        fail(str(invalid))


def why(refusal: Refusal) -> str:
    """Return what an operator is told of a refusal: all of it."""
    return f"{refusal.reason}: {refusal.detail or refusal.message}"


def fail(message: str) -> NoReturn:
    """Say what went wrong on standard error and exit with 1."""
    typer.echo(message, err=True)
    raise typer.Exit(1)
