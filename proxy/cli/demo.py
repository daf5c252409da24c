"""playgate demo: an edge in front of a Dailymotion on this machine, to try and to develop with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
import uvloop

import proxy
from proxy.adapters.clock import Clock
from proxy.adapters.logs import build_logger, capture_standard_logging
from proxy.app import build_keyring, build_minting
from proxy.cli.options import Config, fail
from proxy.cli.serve import stopped_by_signal
from proxy.sandbox.catalogue import LIVE, VOD
from proxy.sandbox.running import HOST, running_sandbox
from proxy.sandbox.state import Sandbox
from proxy.serving import ListenFailed, running_edge
from proxy.settings import Settings, SettingsInvalid, load_settings

WELCOME = """
Playgate {version}: an edge in front of a Dailymotion that runs on this machine.

  Open   {sandbox}/
         every video of the sandbox, each with a fresh player page

  Paste  {url}
         into VLC, ffplay or a <video> tag; good for {ttl} seconds

  Try    curl -si '{url}'
         302 Found
         Location: {sandbox}/cdn/manifest/video/{video}.m3u8?sec=…

  More   playgate token mint --config {config} --video {live} --url
         metrics and health: http://{operator}/metrics  /readyz

Ctrl-C stops it. Log lines follow, one for each play.
"""


def demo(
    port: Annotated[int, typer.Option(help="Where players come in.")] = 8080,
    operator_port: Annotated[int, typer.Option(help="Metrics, health, minting.")] = 8081,
    sandbox_port: Annotated[int, typer.Option(help="The sandbox Dailymotion.")] = 8090,
    config: Config = None,
) -> None:
    """Run the edge in front of a sandbox Dailymotion on this machine, until Ctrl-C."""
    path = config or sandbox_config()
    origin = f"http://{HOST}:{sandbox_port}"
    try:
        settings = load_settings(
            path,
            web={"listen": f"{HOST}:{port}", "public_url": f"http://{HOST}:{port}"},
            operator={"listen": f"{HOST}:{operator_port}"},
            platform={
                "token_url": f"{origin}/oauth/v1/token",
                "rest_url": f"{origin}/rest",
                "allowed_hosts": [f"{HOST}:{sandbox_port}"],
            },
        )
    except SettingsInvalid as invalid:
        fail(str(invalid))
    if not settings.sandbox:
        fail(f"{path}: sandbox = true is missing; the demo never talks to the real Dailymotion")
    try:
        uvloop.run(run(settings, path, sandbox_port))
    except (ListenFailed, OSError) as failed:
        fail(f"{failed}; see playgate demo --help for other ports")


def sandbox_config() -> Path:
    """Return config/sandbox.toml: inside an installed wheel, beside the package in a checkout."""
    package = Path(proxy.__file__).parent
    inside = package / "config" / "sandbox.toml"
    return inside if inside.exists() else package.parent / "config" / "sandbox.toml"


async def run(settings: Settings, path: Path, sandbox_port: int) -> None:
    """Run sandbox and edge until a signal says stop."""
    log = build_logger()
    capture_standard_logging(log)
    minting = build_minting(settings, build_keyring(settings), Clock())

    def page(video: str) -> str:
        return f"{settings.web.public_url}/watch/{video}#{minting.mint(video=video).token}"

    credentials = (settings.platform.api_key, settings.platform.api_secret.get_secret_value())
    async with (
        running_sandbox(Sandbox(credentials=credentials, mint=page), port=sandbox_port) as sandbox,
        running_edge(settings, log=log) as edge,
    ):
        welcome = WELCOME.format(
            version=proxy.__version__,
            sandbox=sandbox.origin,
            url=minting.mint(video=VOD).url,
            ttl=settings.tokens.default_ttl,
            video=VOD,
            live=LIVE,
            config=path,
            operator=edge.operator,
        )
        typer.echo(welcome)
        await stopped_by_signal()
    typer.echo("stopped")
