"""playgate inspect: check a playlist, or all playlists of a video, against the HLS rules."""

import json
import re
import sys
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Annotated

import aiohttp
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from yarl import URL

from proxy.adapters.decompress import (
    DecompressedTooLargeError,
    DecompressionError,
    decompress,
)
from proxy.adapters.errors import CAUSES
from proxy.adapters.telemetry import build_telemetry
from proxy.cli.inspect_report import are_valid, build_summary, print_report
from proxy.cli.options import Config, run
from proxy.domain.reasons import Refusal
from proxy.domain.video import SAFE_ID, parse_video_id
from proxy.edge.video_inspector import InspectedPlaylist, VideoInspector
from proxy.hls.lint.check import check
from proxy.hls.lint.relay_changes import find_relay_changes
from proxy.hls.lint.text import MAX_BYTES, check_scheme
from proxy.settings import SettingsInvalid, load_settings
from proxy.wiring import open_dailymotion, open_state

EXIT_UNREADABLE = 2  # the exit code if an input cannot be read
FETCH_TIMEOUT_SECONDS = 20.0
CONTENT_RANGE = re.compile(r"bytes 0-(?P<last>[0-9]{1,18})/(?P<size>[0-9]{1,18})", re.IGNORECASE)


class UnreadableInput(Exception):
    """An input cannot be read; the message says why."""


def inspect(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE|URL|VIDEO_ID...",
            help="A playlist file, - for standard input, a playlist URL, or a video ID.",
        ),
    ],
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON object per line, for each readable input."),
    ] = False,
    config: Config = None,
) -> None:
    """Check the HLS playlists of a file, a URL or a video.

    For a video ID, checks the video's playlists as this machine gets them, and one segment of each
    variant.

    Exit 1 if a playlist is invalid, 2 if an input cannot be read.
    """
    worst = 0
    for source in inputs:
        try:
            playlists = _inspect_input(source, config, quiet=as_json)
        except UnreadableInput as error:
            typer.echo(f"{source}: {error}", err=True)
            worst = EXIT_UNREADABLE
            continue
        worst = max(worst, 0 if are_valid(playlists) else 1)
        if as_json:
            typer.echo(json.dumps(build_summary(source, playlists), ensure_ascii=False))
        else:
            print_report(source, playlists)
    raise typer.Exit(worst)


def _inspect_input(source: str, config: Path | None, *, quiet: bool) -> list[InspectedPlaylist]:
    if "://" in source:
        return [run(inspect_url(source))]
    if source == "-":
        return [inspect_body(sys.stdin.buffer.read(MAX_BYTES + 1))]
    if (body := read_file(Path(source))) is not None:
        return [inspect_body(body)]
    return run(inspect_video(source, config, quiet=quiet))


def read_file(path: Path) -> bytes | None:
    """Read a file, up to one byte more than the maximum playlist size.

    Return None if the file does not exist and `path` has the form of a video ID.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        if SAFE_ID.fullmatch(str(path)) is not None:
            return None
        raise UnreadableInput(f"{error.strerror}") from None
    except (OSError, ValueError) as error:
        raise UnreadableInput(getattr(error, "strerror", None) or "not a file name") from None


async def inspect_url(url: str) -> InspectedPlaylist:
    """Fetch a URL and check the response. Any host is allowed, since the user chose the URL."""
    if check_scheme(url) or not url.startswith(("http://", "https://")):
        raise UnreadableInput("not an http:// or https:// URL")
    timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT_SECONDS)
    body = bytearray()
    try:
        async with (
            aiohttp.ClientSession(
                timeout=timeout, requote_redirect_url=False, auto_decompress=False
            ) as session,
            session.get(
                URL(url, encoded=True)
            ) as response,  # encoded: signed URLs must stay unchanged
        ):
            if not _is_whole(response):
                is_partial = response.status == HTTPStatus.PARTIAL_CONTENT
                what = ", which is only a part of the file" if is_partial else ""
                raise UnreadableInput(f"HTTP {response.status}{what}")
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > MAX_BYTES:
                    break
            base, headers = str(response.url), response.headers
    except TimeoutError:
        raise UnreadableInput(f"no complete response within {FETCH_TIMEOUT_SECONDS:g} s") from None
    except (aiohttp.ClientError, ValueError, OSError) as error:
        cause = CAUSES.get(type(error), type(error).__name__)
        raise UnreadableInput(f"cannot be fetched ({cause})") from None
    content_type = headers.get("Content-Type", "").partition(";")[0].strip()
    encoding = headers.get("Content-Encoding", "")
    return inspect_body(_decompress(bytes(body), encoding), base=base, content_type=content_type)


def _is_whole(response: aiohttp.ClientResponse) -> bool:
    """Return whether a response has the whole file; some servers send it with status 206."""
    if response.status != HTTPStatus.PARTIAL_CONTENT:
        return response.status == HTTPStatus.OK
    content_range = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    return content_range is not None and int(content_range["last"]) + 1 == int(
        content_range["size"]
    )


def _decompress(body: bytes, encoding: str) -> bytes:
    if len(body) > MAX_BYTES:  # only its beginning was read
        return body
    try:
        return decompress(body, encoding, MAX_BYTES)
    except DecompressionError as error:
        raise UnreadableInput(f"the response {error}") from None
    except DecompressedTooLargeError:
        raise UnreadableInput(f"the decompressed response exceeds {MAX_BYTES} bytes") from None


async def inspect_video(
    source: str, config: Path | None, *, quiet: bool
) -> list[InspectedPlaylist]:
    """Check all playlists of a video."""
    try:
        settings = load_settings(config)
    except SettingsInvalid as invalid:
        hint = "" if config is not None else "give --config FILE, or "
        raise UnreadableInput(
            "no such file. To inspect a video with this ID, Playgate needs valid settings: "
            f"{hint}fix these errors: {invalid}"
        ) from None
    try:
        video = parse_video_id(source, re.compile(settings.platform.video_id_pattern))
    except Refusal:
        raise UnreadableInput(
            "no such file, and not a video ID; see platform.video_id_pattern"
        ) from None
    telemetry = build_telemetry()
    try:
        async with (
            open_state(settings, telemetry, is_alone=True) as (state, _),
            open_dailymotion(settings, telemetry, state) as upstream,
        ):
            inspector = VideoInspector(
                upstream.streams, upstream.cdn, upstream.playlist_checker, telemetry.clock
            )
            with Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                console=Console(stderr=True),
                transient=True,
                disable=quiet or not sys.stderr.isatty(),
            ) as bar:
                return await inspector.inspect(video, _build_progress(bar, source))
    except Refusal as refusal:
        detail = f" ({refusal.detail})" if refusal.detail else ""
        raise UnreadableInput(f"{refusal.reason}: {refusal.message}{detail}") from None


def _build_progress(bar: Progress, source: str) -> Callable[[int, int, str], None]:
    task = bar.add_task(source)
    return lambda done, total, step: bar.update(
        task, completed=done, total=total, description=f"{source} {step}"
    )


def inspect_body(
    body: bytes, *, base: str = "", content_type: str | None = None
) -> InspectedPlaylist:
    """Check the body of a playlist, and find the lines that the relay would change."""
    report = check(body, base=base, content_type=content_type)
    relay_changes = find_relay_changes(body, base) if report.is_checked else ()
    return InspectedPlaylist(
        name="",
        kind=report.kind,
        findings=(*report.findings, *relay_changes),
        text=report.text,
    )
