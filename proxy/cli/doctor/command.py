"""The command `playgate doctor`: run all checks in order and print their results."""

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
        str | None, typer.Option(metavar="ID", help="A video that does not play.")
    ] = None,
    ip: Annotated[
        str | None,
        typer.Option(metavar="IP", help="The IP address of a viewer who cannot play it."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    config: Config = None,
) -> None:
    """Find out why a video does not play.

    Checks the settings, the edge, Dailymotion's hosts and API, a stream and the public URL. Run it
    on the edge's machine, with the edge's settings. Exit 1 if a check fails.
    """
    results = run(collect_results(config, video, ip, quiet=as_json))
    statuses = {result.status for result in results}
    if as_json:
        body = {"ok": "fail" not in statuses, "checks": [asdict(result) for result in results]}
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
    """Run all checks and return their results; print each result at once, unless quiet."""
    results = []
    async with aclosing(run_checks(config, video, ip)) as check_results:
        async for result in check_results:
            results.append(result)
            if not quiet:
                print_result(result)
    return results


async def run_checks(
    config: Path | None, video: str | None, ip: str | None
) -> AsyncGenerator[CheckResult, None]:
    """Run all checks and yield their results."""
    try:
        settings = load_settings(config)
    except SettingsInvalid as invalid:
        prefix = f"{invalid.source}: " if invalid.source is not None else ""
        step = "Fix this setting; config/playgate.toml explains each setting."
        if invalid.file is None:
            step = "Give a settings file with --config or PLAYGATE_CONFIG."
        for key, text in invalid.problems:
            yield build_result("settings-invalid", problem=f"{prefix}{key}: {text}", step=step)
        yield build_result("edge-unknown")
        return
    video_id = None if video is None else parse_video_or_exit(settings, video, option="--video: ")
    viewer = None if ip is None else parse_address_or_exit(ip)
    async with open_context(settings, config, video_id, viewer) as context:
        for check in CHECKS:
            async with aclosing(check(context)) as results:
                async for result in results:
                    yield result


@asynccontextmanager
async def open_context(
    settings: Settings, file: Path | None, video: VideoId | None, viewer: Address | None
) -> AsyncIterator[CheckContext]:
    """Build the checks' context, with the same services that an edge uses."""
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
