"""The command: which checks there are, in which order, and how they are told."""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from proxy.adapters.clock import Clock
from proxy.adapters.dailymotion.account import AccountApi
from proxy.adapters.logs import build_logger
from proxy.app import open_api_session, open_upstream
from proxy.cli import options
from proxy.cli.doctor.findings import Check, Finding, Status, Visit, fail
from proxy.cli.doctor.front import look_at_public_url
from proxy.cli.doctor.local import look_at_edge, look_at_hosts, look_at_settings
from proxy.cli.doctor.platform import look_at_account, look_at_clock, look_at_stream
from proxy.domain.client_ip import Address, parse_address
from proxy.domain.reasons import Refusal
from proxy.domain.video import VideoId, parse_video_id
from proxy.settings import Settings, SettingsInvalid, load_settings
from proxy.wiring.instruments import build_instruments
from proxy.wiring.platform import build_exchange

CHECKS: tuple[Check, ...] = (
    look_at_settings,
    look_at_edge,
    look_at_hosts,
    look_at_clock,
    look_at_account,
    look_at_stream,
    look_at_public_url,
)
COLOURS: dict[Status, str] = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def doctor(
    video: Annotated[
        str | None, typer.Option(metavar="ID", help="The video that does not play.")
    ] = None,
    ip: Annotated[
        str | None, typer.Option(metavar="IP", help="The viewer for whom it does not play.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    config: options.Config = None,
) -> None:
    """Say why it does not play: settings, clock, hosts, credentials, a stream, the public URL.

    Run it where the edge runs. Exit 1 if something fails.
    """
    worst: set[Status] = set()
    found: list[Finding] = []
    for finding in asyncio.run(visited(config, video, ip, quiet=as_json)):
        worst.add(finding.status)
        found.append(finding)
    if as_json:
        body = {"ok": "fail" not in worst, "checks": [asdict(it) for it in found]}
        typer.echo(json.dumps(body, ensure_ascii=False))
    elif "fail" in worst:
        say("\nThe first line that fails is the one to mend first.")
    elif "warn" in worst:
        say("\nNothing is broken; the warnings may be meant so.")
    else:
        say("\nEverything is as it should be.")
    raise typer.Exit("fail" in worst)


async def visited(
    config: Path | None, video: str | None, ip: str | None, *, quiet: bool
) -> list[Finding]:
    """Return all that the checks find, and tell it as it is found."""
    found = []
    async for finding in look(config, video, ip):
        found.append(finding)
        if not quiet:
            tell(finding)
    return found


async def look(config: Path | None, video: str | None, ip: str | None) -> AsyncIterator[Finding]:
    """Yield what there is to find."""
    try:
        settings = load_settings(config)
    except SettingsInvalid as invalid:
        for key, text in invalid.problems:
            yield fail("settings", f"{key}: {text}", "config/playgate.toml says what it is for.")
        return
    async with visiting(settings, asked_video(settings, video), asked_viewer(ip)) as visit:
        for check in CHECKS:
            async for finding in check(visit):
                yield finding


@asynccontextmanager
async def visiting(
    settings: Settings, video: VideoId | None, viewer: Address | None
) -> AsyncIterator[Visit]:
    """Open the ways that the checks take: the edge's own."""
    instruments = build_instruments(build_logger(io.StringIO()), Clock())
    async with (
        open_upstream(settings, instruments) as upstream,
        open_api_session(settings) as session,
    ):
        exchange = build_exchange(settings, session, instruments)
        yield Visit(
            settings=settings,
            instruments=instruments,
            session=session,
            exchange=exchange,
            upstream=upstream,
            account=AccountApi(exchange, settings.platform.endpoints.rest_url),
            video=video,
            viewer=viewer,
        )


def asked_video(settings: Settings, text: str | None) -> VideoId | None:
    """Return the video to look at, or exit."""
    try:
        pattern = re.compile(settings.platform.video_id_pattern)
        return None if text is None else parse_video_id(text, pattern)
    except Refusal:
        options.fail(f"--video: {text!r} is not a video id; see platform.video_id_pattern")


def asked_viewer(text: str | None) -> Address | None:
    """Return the viewer to look for, or exit."""
    address = None if text is None else parse_address(text)
    if text is not None and address is None:
        options.fail(f"--ip: {text!r} is not an address")
    return address


def tell(finding: Finding) -> None:
    """Print one finding."""
    colour = COLOURS[finding.status]
    say(f"[{colour}]{finding.status:<5}[/]{finding.check:<12}{escape(finding.text)}")
    if finding.next_step:
        say(f"{'':<17}[dim]→ {escape(finding.next_step)}[/]")


def say(text: str) -> None:
    """Print a line, in colour where there is any."""
    Console(soft_wrap=True, highlight=False).print(text)
