"""playgate check-config: is the file good, and if not, everything that is wrong with it."""

from __future__ import annotations

import typer

from proxy.cli.options import Config, settings_or_exit


def check_config(config: Config = None) -> None:
    """Check the settings and report every error at once; exit 1 if there is one."""
    settings = settings_or_exit(config)
    kids = ", ".join(f"{entry.kid} ({entry.alg})" for entry in settings.tokens.keys)
    typer.echo(f"{config or 'defaults and environment'}: ok")
    typer.echo(f"  players    {settings.web.listen}")
    typer.echo(f"  operators  {settings.operator.listen}")
    typer.echo(f"  keys       {kids}")
    platform = settings.platform
    typer.echo(f"  account    API {platform.api}, {platform.grant}, {platform.endpoints.rest_url}")
    for name in platform.given_up:
        typer.echo(f"  given up   platform.{name} = true, see docs/playing.md")
    rules = f", {len(settings.delivery.rules)} rules" if settings.delivery.rules else ""
    typer.echo(f"  delivery   {settings.delivery.mode}{rules}")
    own, borrowed = len(settings.relay.keys), len(settings.seal_secrets)
    keys = f"{own} of its own" if own else f"{borrowed} of tokens.keys"
    typer.echo(f"  relay keys {keys if borrowed else 'none: it cannot relay'}")
    if settings.sandbox:
        typer.echo("  sandbox    yes: loopback only, published keys")
