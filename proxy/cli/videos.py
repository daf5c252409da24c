"""playgate videos: list, upload, edit and delete videos, such as a test video."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from proxy.adapters.dailymotion.account_api import LIST_FIELDS, MAX_PAGE_SIZE, VideosApi
from proxy.cli.account import run_videos
from proxy.cli.options import (
    Config,
    add_command,
    fail,
    load_settings_or_exit,
    parse_video_or_exit,
    to_printable,
)
from proxy.domain.allowed_hosts import AllowedHosts
from proxy.domain.video import VideoId
from proxy.settings import Settings

NON_TERMINAL_WIDTH = 300  # characters: wide enough not to truncate text for another program

app = typer.Typer(
    help="Manage the channel's videos, with the API key in [videos].",
    no_args_is_help=True,
    rich_markup_mode=None,
)

VideoArgument = Annotated[str, typer.Argument(metavar="ID", help="The video's ID.")]


@add_command(app, "playgate videos list --limit 5", "playgate videos list --json", name="list")
def list_videos(
    limit: Annotated[int, typer.Option(min=1, help="The maximum number of videos.")] = 20,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per line.")
    ] = False,
    config: Config = None,
) -> None:
    """List the channel's videos."""
    settings = load_settings_or_exit(config, for_edge=False)

    async def fetch_videos(api: VideosApi) -> list[Mapping[str, Any]]:
        videos: list[Mapping[str, Any]] = []
        size = min(limit, MAX_PAGE_SIZE)
        for number in range(1, -(-limit // size) + 1):
            page = await api.fetch_page(_channel_or_exit(settings), page=number, limit=size)
            videos += page.videos
            if not page.has_more:
                break
        return videos[:limit]

    videos = run_videos(settings, fetch_videos)
    if as_json:
        for video in videos:
            typer.echo(json.dumps(video))
        return
    table = Table(box=None, pad_edge=False)
    for name in LIST_FIELDS:
        table.add_column(name, no_wrap=True)
    for video in videos:
        table.add_row(*(_format_cell(video.get(name)) for name in LIST_FIELDS))
    width = None if sys.stdout.isatty() else NON_TERMINAL_WIDTH
    Console(markup=False, highlight=False, width=width).print(table)


@add_command(app, "playgate videos upload test.mp4 --title 'A test' --private")
def upload(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="The video file.")
    ],
    title: Annotated[str, typer.Option(help="The title. [default: the file's name]")] = "",
    category: Annotated[
        str, typer.Option(help="Dailymotion's category (channel), such as news or sport.")
    ] = "tech",
    private: Annotated[
        bool, typer.Option("--private", help="Only people who know its ID can watch it.")
    ] = False,
    draft: Annotated[bool, typer.Option("--draft", help="Do not publish it yet.")] = False,
    for_kids: Annotated[
        bool, typer.Option("--for-kids", help="Declare that it is made for kids.")
    ] = False,
    config: Config = None,
) -> None:
    """Upload a file as a new video and print its ID."""
    settings = load_settings_or_exit(config, for_edge=False)
    channel_id = _channel_or_exit(settings)
    if not file.stat().st_size:
        fail(f"{file}: the file is empty; name a video file")
    fields = {
        "title": check_text_or_exit("--title", title)
        or os.fsencode(file.stem).decode(errors="replace"),
        "channel": check_text_or_exit("--category", category),
        "published": _format_flag(not draft),
        "private": _format_flag(private),
        "is_created_for_kids": _format_flag(for_kids),
    }

    async def upload_file(api: VideosApi) -> VideoId:
        url = await api.fetch_upload_url()
        hosts = AllowedHosts(settings.platform.allowed_hosts, plain_http=settings.sandbox)
        hosts.check(url)
        name = to_printable(file.name)
        with (
            Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress,
            progress.open(file, "rb", description=escape(name)) as body,
        ):
            uploaded_url = await api.upload(url, body, name)
        return await api.publish(channel_id, {"url": uploaded_url, **fields})

    video = run_videos(settings, upload_file)
    typer.echo(video)
    typer.echo(
        f"Dailymotion is encoding the video. For a play URL, run with the edge's settings: "
        f"playgate token mint --video {video} --url",
        err=True,
    )


@add_command(app, "playgate videos edit x9abcd --title 'Another title'")
def edit(
    video: VideoArgument,
    title: Annotated[str | None, typer.Option(help="A new title.")] = None,
    published: Annotated[
        bool | None, typer.Option("--published/--draft", help="Publish it, or make it a draft.")
    ] = None,
    private: Annotated[
        bool | None,
        typer.Option(
            "--private/--public", help="Only people who know its ID can watch it, or everyone."
        ),
    ] = None,
    config: Config = None,
) -> None:
    """Change a video's title or visibility."""
    settings = load_settings_or_exit(config, for_edge=False)
    video_id = parse_video_or_exit(settings, video)
    options = {
        "title": None if title is None else check_text_or_exit("--title", title),
        "published": None if published is None else _format_flag(published),
        "private": None if private is None else _format_flag(private),
    }
    fields = {name: value for name, value in options.items() if value is not None}
    if not fields:
        fail("nothing to change: give --title, --published, --draft, --private or --public")
    run_videos(settings, lambda api: api.edit(video_id, fields))
    typer.echo(f"{video}: changed")


@add_command(app, "playgate videos delete x9abcd")
def delete(
    video: VideoArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without confirmation.")] = False,
    config: Config = None,
) -> None:
    """Delete a video permanently, after a confirmation."""
    settings = load_settings_or_exit(config, for_edge=False)
    video_id = parse_video_or_exit(settings, video)
    if not yes:
        title = run_videos(settings, lambda api: api.fetch_title(video_id))
        typer.confirm(
            f"Delete {video}, {to_printable(title)!r}? This cannot be undone.", abort=True
        )
    run_videos(settings, lambda api: api.delete(video_id))
    typer.echo(f"{video}: deleted")


def _channel_or_exit(settings: Settings) -> str:
    if not settings.videos.channel_id:
        fail("videos.channel_id is not set: set it to the ID of the channel that owns the videos")
    return settings.videos.channel_id


def check_text_or_exit(option: str, text: str) -> str:
    """Check that a text is valid UTF-8, or print an error and exit with 1."""
    try:
        text.encode()
    except UnicodeEncodeError:
        fail(f"{option}: {to_printable(text)!r} is not valid UTF-8")
    return text


def _format_flag(value: bool) -> str:
    return "true" if value else "false"


def _format_cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return to_printable(str(value))
