"""Write a received playlist anew for the relay, in slices.

Passing on received lines fails in both directions: good playlists are refused because one line is
odd, and a hostile line that players read differently leads them past the relay. So every line is
parsed and written again, in a form that every parser reads the same way, or dropped.
"""

import re
from collections.abc import Generator, Iterator, Mapping
from typing import TypeVar

from proxy.domain.allowed_hosts import AllowedHosts
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.variant_limits import NO_LIMITS, VariantLimits
from proxy.hls.document import Document, PlaylistKind
from proxy.hls.lexer import MAX_LINE
from proxy.hls.line_writer import LINES_PER_SLICE, LONG_LINE
from proxy.hls.media_writer import MediaWriter
from proxy.hls.multivariant_writer import MultivariantWriter

MAX_BYTES = 16 * 1024 * 1024
MAX_LINES = 300_000  # a day of segments of 1 s, with a tag each
BLOCK_BYTES = 16 * 1024
BOM = b"\xef\xbb\xbf"
BLANKS = b" \t\r\n\x0b\x0c"
FIRST_LINE = re.compile(rb"#EXTM3U(?![A-Za-z0-9-])")
LINE_END = re.compile(r"[\r\n]")
MEDIA_TAG = re.compile(
    rb"(?:\A(?:\xef\xbb\xbf)?|(?<=[\r\n]))[ \t\x0b\x0c]*#EXT(?:INF|-X-TARGETDURATION):"
)
MULTIVARIANT_TAG = re.compile(
    rb"#EXT-X-(?:STREAM-INF|I-FRAME-STREAM-INF|MEDIA|SESSION-DATA|SESSION-KEY|CONTENT-STEERING):"
)

NO_VARIANT_LEFT = (
    "every variant exceeds the token's max_height or max_bandwidth, or does not state its size"
)
Slices = Generator[None, None, Document]  # yields where the caller may pause
T = TypeVar("T")


def run_to_end(slices: Generator[None, None, T]) -> T:
    """Run a computation that yields where it may pause, without pauses; return its result."""
    while True:
        try:
            next(slices)
        except StopIteration as stop:
            result: T = stop.value
            return result


def is_playlist(body: bytes) -> bool:
    """Return whether a body begins as a playlist does; an error page or a bot challenge does not.

    Blank lines before #EXTM3U are ignored, as most players do.
    """
    start = body[:MAX_LINE].removeprefix(BOM).lstrip(BLANKS)
    return FIRST_LINE.match(start) is not None


def write_playlist(
    body: bytes,
    *,
    base: str,
    hosts: AllowedHosts,
    imported: Mapping[str, str] | None = None,
    limits: VariantLimits = NO_LIMITS,
) -> Slices:
    """Return the playlist in canonical form.

    Args:
        body: as received; `is_playlist` has accepted it.
        base: its URL after redirects.
        hosts: the hosts of its children; their names must not occur in the text.
        imported: variables of the Multivariant Playlist above it.
        limits: what the viewer may play.

    Raises:
        Refusal: `stream-host-not-allowed` if a variant, rendition, segment, key or map leads to
            another host; `playlist-invalid` if nothing is left to play; `format-unavailable` if
            nothing within the limits is.
    """
    kind = yield from find_kind(body)
    writer: MediaWriter | MultivariantWriter
    if kind == "media":
        media = writer = MediaWriter(base, hosts, imported or {}, has_limits=bool(limits))
        yield from _write_media(body, media)
        if rule := media.unplayable:
            raise Refusal(Reason.PLAYLIST_INVALID, rule)
        return media.finish()
    writer = MultivariantWriter(base, hosts, imported or {}, limits=limits)
    for number, text in read_lines(body):
        writer.write_line(number, text)
        if not number % LINES_PER_SLICE or len(text) > LONG_LINE:
            yield
    document = yield from writer.finish()
    if not document.variant_count:
        reason = Reason.FORMAT_UNAVAILABLE if limits else Reason.PLAYLIST_INVALID
        raise Refusal(reason, NO_VARIANT_LEFT if limits else "variants-none")
    return document


def _write_media(body: bytes, writer: MediaWriter) -> Generator[None, None, None]:
    for first, text in read_blocks(body):
        at, number, lines = 0, first, 0
        while at < len(text):
            if (end := writer.write_plain_lines(text, at)) > at:
                number += text.count("\n", at, end)
            else:
                end = text.find("\n", at) + 1 or len(text)
                writer.write_line(number, text[at:end])
                number, lines = number + 1, lines + 1
                if not lines % LINES_PER_SLICE or end - at > LONG_LINE:
                    yield
            at = end
        yield


def find_kind(body: bytes) -> Generator[None, None, PlaylistKind]:
    """Return the kind of a playlist, as players tell it.

    With variants, and without a segment or a target duration, it is a Multivariant Playlist,
    whatever other tags it has.
    """
    has_variants = False
    for at in range(0, len(body), BLOCK_BYTES):
        end = at + BLOCK_BYTES + MAX_LINE
        if MEDIA_TAG.search(body, at, end) is not None:
            return "media"
        has_variants = has_variants or MULTIVARIANT_TAG.search(body, at, end) is not None
        yield
    return "multivariant" if has_variants else "media"


def read_lines(body: bytes) -> Iterator[tuple[int, str]]:
    """Yield the lines of a playlist with their numbers."""
    for first, text in read_blocks(body):
        yield from enumerate(text.removesuffix("\n").split("\n"), start=first)


def read_blocks(body: bytes) -> Iterator[tuple[int, str]]:
    """Yield a playlist in blocks of whole lines, each with the number of its first line.

    Every line ends with LF. A line that is longer than a block is cut off; what is left is still
    longer than any line that is accepted.

    Raises:
        Refusal: `playlist-invalid` if there are more than `MAX_LINES`.
    """
    at, number, cut = len(BOM) if body.startswith(BOM) else 0, 1, b""
    while at < len(body):
        end = min(at + BLOCK_BYTES, len(body))
        if end < len(body):
            last = max(body.rfind(b"\n", at, end), body.rfind(b"\r", at, end))
            if last < 0:
                cut = cut or body[at : at + MAX_LINE + 1]
                at = end
                yield number, ""
                continue
            end = last + 1 + (body[last : last + 2] == b"\r\n")
        text = body[at:end].decode("utf-8", "replace")
        if cut:
            rest = LINE_END.search(text)
            text = cut.decode("utf-8", "replace") + (text[rest.start() :] if rest else "")
            cut = b""
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        at = end
        yield number, text
        number += text.count("\n")
        if number > MAX_LINES:
            raise Refusal(Reason.PLAYLIST_INVALID, f"the playlist has more than {MAX_LINES} lines")
