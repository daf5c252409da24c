"""playgate serve and check-config: run an edge, or validate its settings."""

import asyncio
import gc
import os
import resource
import signal
import sys
import time
from functools import partial

import typer
import uvloop
from yarl import URL

from proxy.adapters.clock import Clock
from proxy.adapters.event_loop import Loop
from proxy.adapters.log_writer import LogWriter, open_log_writer
from proxy.adapters.logs import (
    Logger,
    build_console_processors,
    build_logger,
    capture_standard_logging,
)
from proxy.cli.options import Config, fail, load_settings_or_exit
from proxy.reloading import SettingsSource
from proxy.serving import ListenError, run_edge
from proxy.settings import Settings, load_settings
from proxy.settings.cross_checks import find_warnings
from proxy.settings.value_checks import MEMORY

# Net allocations before a garbage collection of each generation. A play in flight holds about 200
# objects, so the default of 700 would scan plays that have not finished. Higher thresholds would
# accumulate garbage: uvloop leaves about 17 objects (60 KB) for each connection reset before TLS.
# The second generation is scanned after 10,000 allocations, because a scan of 100,000 objects, such
# as those of a long playlist, would hold up other requests for 10 ms.
GC_THRESHOLDS = (5_000, 2, 800)


def serve(config: Config = None) -> None:
    """Run an edge until SIGTERM or Ctrl-C.

    On the first signal, the edge finishes the plays in flight; a second signal ends it at once.
    SIGHUP reloads the settings and keys.
    """
    started_at = time.time()
    settings = load_settings_or_exit(config)
    raise_descriptor_limit()
    source = SettingsSource(load=partial(load_settings, config), path=config, began_at=started_at)
    try:
        uvloop.run(run(settings, source), loop_factory=Loop)
    except ListenError as error:
        fail(f"{error}; change web.listen or operator.listen, or stop the server on that port")


async def run(settings: Settings, source: SettingsSource) -> None:
    """Run an edge until SIGTERM or SIGINT, and log to standard output."""
    with open_log_writer(sys.stdout) as lines:
        log = build_log(settings, lines)
        capture_standard_logging(log)
        await _run_edge(settings, source, log, lines)
        log.info("stopped")


def build_log(settings: Settings, lines: LogWriter) -> Logger:
    """Build the logger: `log.format` auto means readable text on a terminal, otherwise JSON."""
    is_terminal = sys.stdout.isatty()
    is_json = settings.log.format == "json" or (settings.log.format == "auto" and not is_terminal)
    colors = is_terminal and not os.environ.get("NO_COLOR")
    processors = () if is_json else build_console_processors(colors=colors)
    return build_logger(lines, level=settings.log.level, processors=processors)


async def _run_edge(
    settings: Settings, source: SettingsSource, log: Logger, lines: LogWriter
) -> None:
    for setting, detail in find_warnings(settings, source.path):
        log.warning("settings-warning", setting=setting, detail=detail)
    stop = create_stop_event()  # before the edge reports that it is running
    async with run_edge(settings, log=log, source=source) as edge:
        lines.count_dropped = edge.apps.process.telemetry.metrics.log_lines_lost.inc
        if edge.reloader is not None:
            asyncio.get_running_loop().add_signal_handler(
                signal.SIGHUP, edge.reloader.request_reload
            )
        freeze_startup_objects()
        await stop.wait()


def freeze_startup_objects() -> None:
    """Exclude the objects created at startup from garbage collection.

    Modules, settings and metrics live until the end. Scanning them in every collection took a
    quarter of the time of a play.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def raise_descriptor_limit() -> None:
    """Raise the limit of open files to the hard limit: every connection needs a file descriptor."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def create_stop_event() -> asyncio.Event:
    """Return an event that SIGTERM or SIGINT sets. A second signal ends the process at once."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def set_stop() -> None:
        stop.set()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, set_stop)
    return stop


def check_config(config: Config = None) -> None:
    """Check the settings and print a summary, or every error.

    Exit 1 if there is an error. Warnings go to standard error.
    """
    settings = load_settings_or_exit(config)
    now = Clock().now()
    kids = ", ".join(f"{key.kid} ({key.algorithm})" for key in settings.tokens.list_keys(now))
    typer.echo(f"{config or 'defaults and environment (no settings file)'}: ok")
    typer.echo(f"  players    {settings.web.listen}")
    typer.echo(f"  operators  {settings.operator.listen}")
    typer.echo(f"  keys       {kids or 'not set'}")
    for entry in settings.tokens.issuers:
        typer.echo(f"  issuer     {entry.issuer}, {entry.jwks_url}")
    url = URL(settings.state.url.get_secret_value())
    shared = f"{url.scheme}://{url.host}, prefix {settings.state.prefix}"
    is_alone = str(url) == MEMORY or not url.host
    typer.echo(f"  state      {'memory (not shared between instances)' if is_alone else shared}")
    if settings.tokens.bind_on_first_use:
        typer.echo("  first use  binds each token to the viewer's network")
    platform = settings.platform
    typer.echo(f"  account    API {platform.api}, {platform.grant}, {platform.endpoints.rest_url}")
    for name in platform.url_flags:
        typer.echo(f"  warning    platform.{name} = true, see docs/playing.md")
    rules = f", {len(settings.delivery.rules)} rules" if settings.delivery.rules else ""
    typer.echo(f"  delivery   {settings.delivery.mode}{rules}")
    typer.echo(
        f"  relay keys {len(settings.get_seal_secrets()) or 'not set (relaying is disabled)'}"
    )
    if settings.sandbox:
        typer.echo("  sandbox    yes: loopback addresses only; accepts the published sandbox keys")
    for setting, text in find_warnings(settings, config):
        typer.echo(f"  warning    {setting}: {text}", err=True)
