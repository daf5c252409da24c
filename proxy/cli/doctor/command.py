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
from proxy.cli.doctor.platform import check_account, check_clock
from proxy.cli.doctor.play import check_stream
from proxy.cli.doctor.public_url import check_public_url
from proxy.cli.doctor.results import CheckContext, CheckFunction, build_result
from proxy.cli.doctor.this_machine import check_edge, check_hosts, check_settings, check_state
from proxy.cli.options import (
    CheckResult,
    Config,
    parse_address_or_exit,
    parse_video_or_exit,
    print_markup,
    print_result,
    run,
)
from proxy.domain.client_ip import Address
from proxy.domain.video import VideoId
from proxy.settings import Settings, SettingsInvalid, load_settings
from proxy.wiring import open_process_services

CHECKS: tuple[CheckFunction, ...] = (
    check_settings,
    check_edge,
    check_state,
    check_hosts,
    check_clock,
    check_account,
    check_stream,
    check_public_url,
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
    findings = run(collect_results(config, video, ip, quiet=as_json))
    statuses = {it.status for it in findings}
    if as_json:
        body = {"ok": "fail" not in statuses, "checks": [asdict(it) for it in findings]}
        typer.echo(json.dumps(body, ensure_ascii=False))
    elif "fail" in statuses:
        print_markup("\nFix the first failing check first.")
    elif "warn" in statuses:
        print_markup("\nNo check failed. Review the warnings.")
    else:
        print_markup("\nAll checks passed.")
    raise typer.Exit("fail" in statuses)


async def collect_results(
    config: Path | None, video: str | None, ip: str | None, *, quiet: bool
) -> list[CheckResult]:
    """Return the findings of all checks; print each as it comes, unless quiet."""
    findings = []
    async with aclosing(run_checks(config, video, ip)) as looking:
        async for finding in looking:
            findings.append(finding)
            if not quiet:
                print_result(finding)
    return findings


async def run_checks(
    config: Path | None, video: str | None, ip: str | None
) -> AsyncGenerator[CheckResult, None]:
    """Yield what there is to find."""
    try:
        settings = load_settings(config)
    except SettingsInvalid as invalid:
        where = f"{invalid.source}: " if invalid.source is not None else ""
        step = "config/playgate.toml says what each setting is for."
        if invalid.file is None:
            step = "Name a settings file with --config or PLAYGATE_CONFIG."
        for key, text in invalid.problems:
            yield build_result("settings-invalid", problem=f"{where}{key}: {text}", step=step)
        yield build_result("edge-unknown")
        return
    asked = None if video is None else parse_video_or_exit(settings, video, option="--video: ")
    viewer = None if ip is None else parse_address_or_exit(ip)
    async with open_context(settings, config, asked, viewer) as visit:
        for check in CHECKS:
            async with aclosing(check(visit)) as findings:
                async for finding in findings:
                    yield finding


@asynccontextmanager
async def open_context(
    settings: Settings, file: Path | None, video: VideoId | None, viewer: Address | None
) -> AsyncIterator[CheckContext]:
    """Build what the checks use: the edge's own services."""
    async with open_process_services(settings, build_telemetry(), is_alone=True) as process:
        delivery = build_services(settings, process).delivery
        yield CheckContext(
            settings=settings,
            file=file,
            process=process,
            delivery=delivery,
            video=video,
            viewer=viewer,
        )
