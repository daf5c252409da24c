"""playgate embed: what to write into a page or an app so that a video plays there."""

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

TOKEN_PLACEHOLDER = "TOKEN"  # noqa: S105  # no secret


class Snippet(NamedTuple):
    """How one player is fed; `{src}`, `{file}` and `{page}` are its URLs."""

    name: str
    about: str
    text: str


def _read_snippets() -> tuple[Snippet, ...]:
    text = (files("proxy.cli") / "snippets.txt").read_text(encoding="utf-8")
    heads = re.split(r"^# (\S+): (.*)\n", text, flags=re.MULTILINE)[1:]
    return tuple(
        Snippet(name, about, body.strip("\n"))
        for name, about, body in zip(heads[::3], heads[1::3], heads[2::3], strict=True)
    )


SNIPPETS = _read_snippets()
NAMES = ", ".join(snippet.name for snippet in SNIPPETS)


def embed(
    video: Annotated[str, typer.Argument(metavar="ID", help="The video.")],
    only: Annotated[
        str | None, typer.Option(metavar="NAME", help=f"This snippet, and nothing else: {NAMES}.")
    ] = None,
    mint: Annotated[
        bool, typer.Option("--mint", help="Put a real token in, to try it at once.")
    ] = False,
    config: Config = None,
) -> None:
    """Print snippets that play a video in pages and apps."""
    settings = load_settings_or_exit(config)
    check_playable_in_pages(settings, video)
    token = _mint_token(settings, video) if mint else TOKEN_PLACEHOLDER
    chosen = [snippet for snippet in SNIPPETS if only is None or only.lower() == snippet.name]
    if not chosen:
        fail(f"--only: {only!r} is none of {NAMES}")
    texts = [fill_snippet(snippet, settings, video, token) for snippet in chosen]
    if only in {None, "iframe"} and not settings.web.player_page:
        typer.echo("web.player_page is not true: the iframe will show nothing", err=True)
    elif only == "iframe" and not settings.web.embed_origins:
        typer.echo("web.embed_origins is empty: no other site may show the iframe", err=True)
    if only is not None:
        typer.echo(texts[0])
        return
    heading = Console(soft_wrap=True, highlight=False, markup=False)
    for snippet, text in zip(chosen, texts, strict=True):
        heading.print(f"# {snippet.name}: {snippet.about}", style="bold")
        typer.echo(f"{text}\n")
    if not mint:
        typer.echo(
            f"In place of {TOKEN_PLACEHOLDER}, your back end writes a token that it has just signed: "
            "docs/tokens.md."
        )


def check_playable_in_pages(settings: Settings, video: str) -> None:
    """Exit where no page could ever play this."""
    if not settings.web.public_url:
        fail("web.public_url is not set: it is what every snippet begins with")
    parse_video_or_exit(settings, video)


def _mint_token(settings: Settings, video: str) -> str:
    minting = TokenMinter(settings, Clock())
    try:
        return minting.mint(video=video).token
    except Refusal as refusal:
        fail(refusal.message)


def fill_snippet(snippet: Snippet, settings: Settings, video: str, token: str) -> str:
    """Return a snippet with its URLs, in which no character needs escaping."""
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
