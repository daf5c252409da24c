"""The command: which checks there are, in which order, and how they are told."""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from proxy.adapters.telemetry import build_telemetry
from proxy.app import build_services
from proxy.cli.doctor.findings import Check, Visit, found
from proxy.cli.doctor.front import look_at_public_url
from proxy.cli.doctor.local import look_at_edge, look_at_hosts, look_at_settings, look_at_state
from proxy.cli.doctor.platform import look_at_account, look_at_clock
from proxy.cli.doctor.play import look_at_stream
from proxy.cli.options import (
    Config,
    Finding,
    address_or_exit,
    print_finding,
    run,
    say,
    video_or_exit,
)
from proxy.domain.client_ip import Address
from proxy.domain.video import VideoId
from proxy.settings import Settings, SettingsInvalid, load_settings
from proxy.wiring import open_process

CHECKS: tuple[Check, ...] = (
    look_at_settings,
    look_at_edge,
    look_at_state,
    look_at_hosts,
    look_at_clock,
    look_at_account,
    look_at_stream,
    look_at_public_url,
)


def doctor(
    video: Annotated[
        str | None, typer.Option(metavar="ID", help="The video that does not play.")
    ] = None,
    ip: Annotated[
        str | None, typer.Option(metavar="IP", help="The viewer for whom it does not play.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    config: Config = None,
) -> None:
    """Find out why a video does not play.

    Checks settings, edge, clock, hosts, credentials, a stream and the public URL. Run it where the
    edge runs. Exit 1 if a check fails.
    """
    findings = run(visited(config, video, ip, quiet=as_json))
    statuses = {it.status for it in findings}
    if as_json:
        body = {"ok": "fail" not in statuses, "checks": [asdict(it) for it in findings]}
        typer.echo(json.dumps(body, ensure_ascii=False))
    elif "fail" in statuses:
        say("\nFix the first failing check first.")
    elif "warn" in statuses:
        say("\nNo check failed. Review the warnings.")
    else:
        say("\nAll checks passed.")
    raise typer.Exit("fail" in statuses)


async def visited(
    config: Path | None, video: str | None, ip: str | None, *, quiet: bool
) -> list[Finding]:
    """Return the findings of all checks; print each as it comes, unless quiet."""
    findings = []
    async with aclosing(look(config, video, ip)) as looking:
        async for finding in looking:
            findings.append(finding)
            if not quiet:
                print_finding(finding)
    return findings


async def look(
    config: Path | None, video: str | None, ip: str | None
) -> AsyncGenerator[Finding, None]:
    """Yield what there is to find."""
    try:
        settings = load_settings(config)
    except SettingsInvalid as invalid:
        where = f"{invalid.source}: " if invalid.source is not None else ""
        step = "config/playgate.toml says what each setting is for."
        if invalid.file is None:
            step = "Name a settings file with --config or PLAYGATE_CONFIG."
        for key, text in invalid.problems:
            yield found("settings-invalid", problem=f"{where}{key}: {text}", step=step)
        yield found("edge-unknown")
        return
    asked = None if video is None else video_or_exit(settings, video, option="--video: ")
    viewer = None if ip is None else address_or_exit(ip)
    async with visiting(settings, config, asked, viewer) as visit:
        for check in CHECKS:
            async with aclosing(check(visit)) as findings:
                async for finding in findings:
                    yield finding


@asynccontextmanager
async def visiting(
    settings: Settings, file: Path | None, video: VideoId | None, viewer: Address | None
) -> AsyncIterator[Visit]:
    """Build what the checks use: the edge's own services."""
    async with open_process(settings, build_telemetry(), is_alone=True) as process:
        delivery = build_services(settings, process).delivery
        yield Visit(
            settings=settings,
            file=file,
            process=process,
            delivery=delivery,
            video=video,
            viewer=viewer,
        )
