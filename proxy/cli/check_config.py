"""playgate check-config: is the file good, and if not, everything that is wrong with it."""

from __future__ import annotations

import typer
from yarl import URL

from proxy.adapters.clock import Clock
from proxy.cli.options import Config, settings_or_exit
from proxy.settings.checks import MEMORY
from proxy.settings.warnings import warnings_about


def check_config(config: Config = None) -> None:
    """Check the settings and report every error.

    Exit 1 if there is an error. Warnings go to standard error.
    """
    settings = settings_or_exit(config)
    now = Clock().now()
    kids = ", ".join(f"{key.kid} ({key.algorithm})" for key in settings.tokens.keys_at(now))
    typer.echo(f"{config or 'defaults and environment (no settings file)'}: ok")
    typer.echo(f"  players    {settings.web.listen}")
    typer.echo(f"  operators  {settings.operator.listen}")
    typer.echo(f"  keys       {kids or 'none of its own'}")
    for entry in settings.tokens.issuers:
        typer.echo(f"  issuer     {entry.issuer}, {entry.jwks_url}")
    url = URL(settings.state.url.get_secret_value())
    shared = f"{url.scheme}://{url.host}, prefix {settings.state.prefix}"
    is_alone = str(url) == MEMORY or not url.host
    typer.echo(f"  state      {'memory: this instance alone' if is_alone else shared}")
    if settings.tokens.first_use:
        typer.echo("  first use  on: a link is good in one network")
    platform = settings.platform
    typer.echo(f"  account    API {platform.api}, {platform.grant}, {platform.endpoints.rest_url}")
    for name in platform.given_up:
        typer.echo(f"  given up   platform.{name} = true, see docs/playing.md")
    rules = f", {len(settings.delivery.rules)} rules" if settings.delivery.rules else ""
    typer.echo(f"  delivery   {settings.delivery.mode}{rules}")
    typer.echo(f"  relay keys {len(settings.seal_secrets()) or 'not set (relaying is disabled)'}")
    if settings.sandbox:
        typer.echo("  sandbox    yes: loopback only, published keys")
    for setting, text in warnings_about(settings, config):
        typer.echo(f"  warning    {setting}: {text}", err=True)
