"""playgate demo: run an edge and a sandbox Dailymotion, for trying Playgate and for development."""

import os
import shutil
import sys
import tomllib
from contextlib import AsyncExitStack
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer
import uvloop

import proxy
from proxy.adapters.clock import Clock
from proxy.adapters.log_writer import MAX_QUEUED_LINES, LogWriter
from proxy.adapters.logs import Logger, capture_standard_logging
from proxy.cli.demo_tools import DemoEdge
from proxy.cli.options import fail
from proxy.cli.serve import build_log, create_stop_event
from proxy.edge.token_minter import TokenMinter
from proxy.sandbox.accounts import Accounts
from proxy.sandbox.app import BASE_PATHS
from proxy.sandbox.catalogue import LIVE, VOD
from proxy.sandbox.server import HOST, run_sandbox
from proxy.sandbox.state import Sandbox
from proxy.serving import ListenError, run_edge
from proxy.settings import Settings, SettingsInvalid, load_settings
from proxy.settings.platform import get_key_kind
from proxy.settings.sources import CONFIG_VARIABLE

# The addresses in config/sandbox.toml.
DEFAULT_URL = f"http://{HOST}:8080"
DEFAULT_OPERATOR_ADDRESS = f"{HOST}:8081"

REDIRECT_RESPONSE = "302 Found, Location: {sandbox}/cdn/manifest/video/{video}.m3u8?sec=…"
RESPONSES_BY_MODE = {
    "redirect": REDIRECT_RESPONSE,
    "validate": REDIRECT_RESPONSE,
    "relay": "200 OK, with a playlist in which every URI begins with /relay/",
}


def demo(
    port: Annotated[
        int, typer.Option(metavar="PORT", min=1, max=65535, help="Port for players.")
    ] = 8080,
    operator_port: Annotated[
        int,
        typer.Option(
            metavar="PORT", min=1, max=65535, help="Port for metrics, health checks and minting."
        ),
    ] = 8081,
    sandbox_port: Annotated[
        int, typer.Option(metavar="PORT", min=1, max=65535, help="Port of the sandbox Dailymotion.")
    ] = 8090,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            envvar=CONFIG_VARIABLE,
            metavar="FILE",
            help="A settings file with sandbox = true. [default: config/sandbox.toml]",
        ),
    ] = None,
) -> None:
    """Run an edge and a sandbox Dailymotion on this machine.

    Needs no Dailymotion account and no settings file. Ctrl-C stops it.
    """
    if len({port, operator_port, sandbox_port}) < len(("port", "operator", "sandbox")):
        fail("--port, --operator-port and --sandbox-port must be different: change one of them")
    path = config or find_sandbox_config()
    try:
        settings = build_demo_settings(path, port, operator_port, sandbox_port)
    except SettingsInvalid as invalid:
        if config is not None and not is_sandbox_file(config):
            fail(
                f"{config}: the demo needs settings with sandbox = true. To use "
                f"config/sandbox.toml, leave out --config and unset {CONFIG_VARIABLE}"
            )
        fail(str(invalid))
    try:
        uvloop.run(run(settings, path, sandbox_port))
    except ListenError as failed:
        fail(
            f"{failed}; choose other ports: playgate demo --port 9080 --operator-port 9081 "
            "--sandbox-port 9090"
        )


def is_sandbox_file(path: Path) -> bool:
    """Return whether a settings file has `sandbox = true`; True if the file cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8")).get("sandbox") is True
    except (OSError, ValueError):
        return True


def build_demo_settings(path: Path, port: int, operator_port: int, sandbox_port: int) -> Settings:
    """Load the settings of a demo on these ports.

    Raises:
        SettingsInvalid: The settings are invalid, as they always are without sandbox = true, since
            plain http to a loopback address is then refused.
    """
    origin = f"http://{HOST}:{sandbox_port}"

    def load(token_path: str, rest_path: str) -> Settings:
        return load_settings(
            path,
            web={"listen": f"{HOST}:{port}", "public_url": f"http://{HOST}:{port}"},
            operator={"listen": f"{HOST}:{operator_port}"},
            platform={
                "token_url": f"{origin}{token_path}",
                "rest_url": f"{origin}{rest_path}",
                "allowed_hosts": [f"{HOST}:{sandbox_port}"],
            },
            videos={"token_url": f"{origin}/oauth/v1/token", "rest_url": f"{origin}/rest"},
        )

    platform = load(*BASE_PATHS["legacy", "private"]).platform
    return load(*BASE_PATHS[platform.api, get_key_kind(platform.grant)])


def find_sandbox_config() -> Path:
    """Find config/sandbox.toml: inside the package in a wheel, next to it in a checkout."""
    package = Path(proxy.__file__).parent
    packaged = package / "config" / "sandbox.toml"
    return packaged if packaged.exists() else package.parent / "config" / "sandbox.toml"


def format_command(settings: Settings) -> str:
    """Format the shell command that runs this installation with this demo's ports."""
    installed = shutil.which("playgate")
    is_installed = installed is not None and Path(installed).samefile(sys.argv[0])
    command = "playgate" if is_installed else sys.argv[0]
    if Path(command).name == "__main__.py":
        command = f"{sys.executable} -m proxy"
    url, operator = settings.web.public_url, settings.operator.listen
    url_variable = "" if url == DEFAULT_URL else f"PLAYGATE_WEB__PUBLIC_URL={url} "
    is_default = operator == DEFAULT_OPERATOR_ADDRESS
    operator_variable = "" if is_default else f"PLAYGATE_OPERATOR__LISTEN={operator} "
    return f"{url_variable}{operator_variable}{command}"


async def run(settings: Settings, path: Path, sandbox_port: int) -> None:
    """Run the sandbox and the edge until SIGTERM or SIGINT, and log to standard output."""
    lines = LogWriter(sys.stdout, max_lines=MAX_QUEUED_LINES)
    log = build_log(settings, lines)
    capture_standard_logging(log)
    try:
        await run_both(settings, path, sandbox_port, log, lines)
    finally:
        lines.close()
    typer.echo("stopped")


async def run_both(
    settings: Settings, path: Path, sandbox_port: int, log: Logger, lines: LogWriter
) -> None:
    """Run the sandbox and the edge; hold log lines back until the welcome text is printed."""
    stop, minter = create_stop_event(), TokenMinter(settings, Clock())
    accounts = Accounts(callback_url=settings.platform.redirect_uri)
    if get_key_kind(settings.platform.grant) == "private":
        secret = settings.platform.api_secret.get_secret_value()
        accounts.private_key = (settings.platform.api_key, secret)
    async with AsyncExitStack() as stack:
        state = Sandbox(accounts=accounts)
        try:
            sandbox = await stack.enter_async_context(run_sandbox(state, port=sandbox_port))
        except OSError as error:
            cause = os.strerror(error.errno or 0)
            raise ListenError(f"cannot listen on {HOST}:{sandbox_port}: {cause}") from None
        edge = await stack.enter_async_context(run_edge(settings, log=log))
        sandbox.edge = DemoEdge(settings, edge.apps)
        template = (files("proxy.cli") / "welcome.txt").read_text("utf-8")
        welcome = template.format(
            version=proxy.__version__,
            sandbox=sandbox.origin,
            url=minter.mint(video=VOD).url,
            response=RESPONSES_BY_MODE[settings.delivery.mode].format(
                sandbox=sandbox.origin, video=VOD
            ),
            ttl=settings.tokens.default_ttl,
            live=LIVE,
            command=format_command(settings),
            config=path,
            operator=edge.operator,
        )
        typer.echo(f"\n{welcome}")
        lines.start()
        await stop.wait()
