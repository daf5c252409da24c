"""playgate embed: print code that plays a video in a web page or an app."""

import re
from importlib.resources import files
from typing import Annotated, NamedTuple

import typer
from rich.console import Console

from proxy.adapters.clock import Clock
from proxy.cli.options import Config, fail, load_settings_or_exit, parse_video_or_exit
from proxy.domain.reasons import Refusal
from proxy.edge.token_minter import TokenMinter
from proxy.settings import Settings

TOKEN_PLACEHOLDER = "TOKEN"  # noqa: S105  # not a secret


class Snippet(NamedTuple):
    """Example code for one player, with the URLs `{src}`, `{file}` and `{page}` as placeholders."""

    name: str
    about: str
    text: str


def _read_snippets() -> tuple[Snippet, ...]:
    text = (files("proxy.cli") / "snippets.txt").read_text(encoding="utf-8")
    parts = re.split(r"^# (\S+): (.*)\n", text, flags=re.MULTILINE)[1:]
    return tuple(
        Snippet(name, about, body.strip("\n"))
        for name, about, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    )


SNIPPETS = _read_snippets()
NAMES = ", ".join(snippet.name for snippet in SNIPPETS)


def embed(
    video: Annotated[str, typer.Argument(metavar="ID", help="The video's ID.")],
    only: Annotated[
        str | None, typer.Option(metavar="NAME", help=f"Print only this snippet: {NAMES}.")
    ] = None,
    mint: Annotated[bool, typer.Option("--mint", help="Insert a real token, for testing.")] = False,
    config: Config = None,
) -> None:
    """Print code snippets that play a video in web pages and apps."""
    settings = load_settings_or_exit(config)
    check_playable_in_pages(settings, video)
    token = _mint_token(settings, video) if mint else TOKEN_PLACEHOLDER
    chosen = [snippet for snippet in SNIPPETS if only is None or only.lower() == snippet.name]
    if not chosen:
        fail(f"--only: there is no snippet {only!r}; choose one of {NAMES}")
    texts = [fill_snippet(snippet, settings, video, token) for snippet in chosen]
    if only in {None, "iframe"} and not settings.web.player_page:
        typer.echo("The iframe will show nothing: set web.player_page to true.", err=True)
    elif only == "iframe" and not settings.web.embed_origins:
        typer.echo(
            "No other site may show the iframe: add its origin to web.embed_origins.", err=True
        )
    if only is not None:
        typer.echo(texts[0])
        return
    heading = Console(soft_wrap=True, highlight=False, markup=False)
    for snippet, text in zip(chosen, texts, strict=True):
        heading.print(f"# {snippet.name}: {snippet.about}", style="bold")
        typer.echo(f"{text}\n")
    if not mint:
        typer.echo(
            f"Replace {TOKEN_PLACEHOLDER} with a fresh token that your back end signs; "
            "see docs/tokens.md."
        )


def check_playable_in_pages(settings: Settings, video: str) -> None:
    """Check web.public_url and the video ID, or print an error and exit with 1."""
    if not settings.web.public_url:
        fail(
            "web.public_url is not set: set it to the URL that players use, since every snippet "
            "contains it"
        )
    parse_video_or_exit(settings, video)


def _mint_token(settings: Settings, video: str) -> str:
    minter = TokenMinter(settings, Clock())
    try:
        return minter.mint(video=video).token
    except Refusal as refusal:
        fail(refusal.message)


def fill_snippet(snippet: Snippet, settings: Settings, video: str, token: str) -> str:
    """Fill the URLs into a snippet. They contain no character that needs escaping."""
    base = settings.web.public_url
    urls = {
        "{src}": f"{base}/play/{video}.m3u8?token={token}",
        "{file}": f"{base}/play/{video}.mp4?token={token}",
        "{page}": f"{base}/watch/{video}#{token}",
    }
    text = snippet.text
    for name, url in urls.items():
        text = text.replace(name, url)
    return text
