"""playgate embed: what to write into a page or an app so that a video plays there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer
from rich.console import Console

from proxy.adapters.clock import Clock
from proxy.cli.options import Config, fail, settings_or_exit, video_or_exit
from proxy.domain.reasons import Refusal
from proxy.edge.minting import Minting
from proxy.settings import Settings

PLACEHOLDER = "TOKEN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """How one player is fed; `{src}`, `{file}` and `{page}` are its URLs."""

    name: str
    about: str
    text: str


SNIPPETS = (
    Snippet(
        name="video",
        about="A <video> tag: Safari and recent Chromium play HLS by themselves. Keep "
        'preload="none": Chromium often fails to start a live channel that it loads while paused. '
        "For live channels in every browser, take hls.js.",
        text='<video src="{src}" controls playsinline preload="none"></video>',
    ),
    Snippet(
        name="hls.js",
        about="hls.js (npm hls.js) plays it in every other browser. Serve the script yourself.",
        text="""<video id="player" controls playsinline></video>
<script src="/js/hls.min.js"></script>
<script>
  const src = "{src}";
  const video = document.getElementById("player");
  if (Hls.isSupported()) {
    const hls = new Hls();
    hls.on(Hls.Events.ERROR, (event, data) => {
      // A refusal is JSON that says why: fetch(src).then(answer => answer.json())
      if (data.fatal) console.error(data.details, data.response?.code);
    });
    hls.loadSource(src);
    hls.attachMedia(video);
  } else {
    video.src = src; // an iPhone
  }
</script>""",
    ),
    Snippet(
        name="video.js",
        about="Video.js (npm video.js).",
        text="""<link href="/js/video-js.min.css" rel="stylesheet">
<video id="player" class="video-js" controls playsinline></video>
<script src="/js/video.min.js"></script>
<script>
  const player = videojs("player", { html5: { vhs: { overrideNative: true } } });
  player.src({ src: "{src}", type: "application/vnd.apple.mpegurl" });
</script>""",
    ),
    Snippet(
        name="shaka",
        about="Shaka Player (npm shaka-player).",
        text="""<video id="player" controls playsinline></video>
<script src="/js/shaka-player.compiled.js"></script>
<script>
  const player = new shaka.Player();
  player.attach(document.getElementById("player"))
    .then(() => player.load("{src}"))
    .catch(error => console.error(error.code, error.data));
</script>""",
    ),
    Snippet(
        name="iframe",
        about="Playgate's own player page. It needs web.player_page = true, and the embedding "
        "site's origin in web.embed_origins.",
        text="""<iframe src="{page}" title="Video" width="640" height="360" style="border: 0"
  allow="autoplay; fullscreen; picture-in-picture" allowfullscreen></iframe>""",
    ),
    Snippet(
        name="mp4",
        about="A plain file, where a player knows no HLS: no live channels, one quality for all. "
        "?quality= names another than hd.",
        text='<video src="{file}" controls playsinline></video>',
    ),
    Snippet(name="vlc", about="VLC, mpv, ffplay.", text='vlc "{src}"'),
    Snippet(
        name="exoplayer",
        about="Android: Media3 ExoPlayer, with androidx.media3:media3-exoplayer-hls. Make the "
        "media item when playback starts, with a fresh token.",
        text="""val player = ExoPlayer.Builder(context).build()
player.setMediaItem(MediaItem.fromUri("{src}"))
player.prepare()
player.play()""",
    ),
    Snippet(
        name="avplayer",
        about="iOS, tvOS, macOS: AVPlayer.",
        text="""let player = AVPlayer(url: URL(string: "{src}")!)
player.play()""",
    ),
)
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
    settings = settings_or_exit(config)
    check(settings, video)
    token = token_for(settings, video) if mint else PLACEHOLDER
    chosen = [snippet for snippet in SNIPPETS if only is None or only.lower() == snippet.name]
    if not chosen:
        fail(f"--only: {only!r} is none of {NAMES}")
    texts = [fill(snippet, settings, video, token) for snippet in chosen]
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
            f"In place of {PLACEHOLDER}, your back end writes a token that it has just signed: "
            "docs/tokens.md."
        )


def check(settings: Settings, video: str) -> None:
    """Exit where no page could ever play this."""
    if not settings.web.public_url:
        fail("web.public_url is not set: it is what every snippet begins with")
    video_or_exit(settings, video)


def token_for(settings: Settings, video: str) -> str:
    """Return a fresh token, or exit."""
    minting = Minting(settings, Clock())
    try:
        return minting.mint(video=video).token
    except Refusal as refusal:
        fail(refusal.message)


def fill(snippet: Snippet, settings: Settings, video: str, token: str) -> str:
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
