"""Helpers: rewrite playlists as the relay does, and open the relay URLs in them."""

import re
from collections.abc import Callable
from ipaddress import ip_network
from urllib.parse import urljoin

from proxy.domain.allowed_hosts import AllowedHosts
from proxy.domain.reasons import Refusal
from proxy.domain.seal import SealKey, SealKeys, Session
from proxy.domain.variant_limits import NO_LIMITS
from proxy.hls.compile_template import compile_template
from proxy.hls.document import Document
from proxy.hls.playlist_writer import run_to_end, write_playlist
from proxy.hls.relay_urls import open_bytes, open_playlist, seal_playlist
from proxy.hls.template import Place, Template

KEY = SealKey(b"n" * 32)
KEYS = SealKeys([b"n" * 32, b"o" * 32])
SESSION = Session(
    video="x8abcd", network=ip_network("203.0.113.0/24"), started_at=1_800_000_000,
    jti="1b4e28ba-2fa1-11d2-883f-0016d3cca427", subject="viewer-7", issued_at=1_799_999_990,
)  # fmt: skip
BASE = "https://cdn.example/sec2(0123456789abcdef0123)/video/a/m.m3u8?sig=SECRET"
ROOT = "https://cdn.example/sec2(0123456789abcdef0123)/video/a/"
HEAD = "#EXTM3U\n#EXT-X-TARGETDURATION:6\n"
REFERENCE = re.compile(
    r'^(?!#)(\S+)|(?:URI|X-ASSET-LIST)="(?!data:|skd:|urn:)([^"]+)"|^#EXT-X-(?:TWITCH-)?PREFETCH:(\S+)',
    re.MULTILINE,
)


HOSTS = AllowedHosts(["example"], plain_http=False)


def write(text: str | bytes, **options) -> Document:
    """Return a playlist in canonical form."""
    body = text if isinstance(text, bytes) else text.encode(errors="surrogatepass")
    options = {"base": BASE, "hosts": HOSTS, **options}
    return run_to_end(write_playlist(body, **options))


def compile_text(text: str | bytes, *, base: str = BASE, was_changing=False, **options) -> Template:
    limits = options.get("limits", NO_LIMITS)
    document = write(text, base=base, **options)
    return run_to_end(
        compile_template(document, base, has_limits=bool(limits), was_changing=was_changing)
    )


def build_place(
    base: str = BASE, *, url: str = "", variables=None, session=SESSION, key=KEY
) -> Place:
    path = seal_playlist(key, session, base, variables or {}, "playlist")
    return Place(
        key=key,
        session=session,
        seal=path.split("/")[2],
        sealed_url=base,
        url=url or base,
        variables=variables or {},
        is_at_relay_url=True,
    )


def rewrite(text: str | bytes, *, place: Place | None = None, **options) -> str:
    """Return a playlist as the relay sends it."""
    place = place or build_place(options.get("base", BASE))
    return join_chunks(compile_text(text, **options).render(place))


def join_chunks(slices) -> str:
    """Return the text of a rendered playlist."""
    return b"".join(run_to_end(slices)).decode()


def list_urls(text: str, place: Place | None = None) -> list[str]:
    """Return the upstream URLs that the relay URLs of a playlist stand for, in order."""
    return [open_url(path).url for path in list_paths(text, place)]


def list_paths(text: str, place: Place | None = None) -> list[str]:
    """Return the paths of a playlist's relay URLs, without fragments."""
    own = f"/relay/{(place or build_place()).seal}/playlist.m3u8"
    references = ["".join(found) for found in REFERENCE.findall(text)]
    return [urljoin(own, reference).partition("#")[0] for reference in references]


def open_url(path: str):
    """Open the relay URL of a playlist, a list or a file."""
    is_playlist = path.endswith(("/playlist.m3u8", "/list.json"))
    return (open_playlist if is_playlist else open_bytes)(path, KEYS)


def catch_reason(call: Callable[[], object]) -> str:
    """Return the reason of the refusal that a call raises, or `opened`."""
    try:
        call()
    except Refusal as refusal:
        return str(refusal.reason)
    return "opened"
