"""Read EXTINF: the duration of a segment and its title."""

import re

from proxy.hls.clean_text import clean_quoted, names_file

DURATION = re.compile(r"\s*(-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?)", re.ASCII)
PLAIN_DURATION = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,20})?", re.ASCII)
TITLE = re.compile(r"[^#=<>{}%]{0,200}")
# The shortest duration that players accept: hls.js reads a negative one as a URL.
MIN_DURATION, MAX_DURATION_SECONDS = "0.001", 1_000_000.0


def read_duration(text: str) -> str | None:
    """Return the duration at the beginning of a text, in seconds, as every player reads it.

    None if there is none, or one that no segment has.
    """
    if (found := DURATION.match(text)) is None:
        return None
    if PLAIN_DURATION.fullmatch(found[1]) is not None:
        return found[1]
    seconds = float(found[1])
    if seconds > MAX_DURATION_SECONDS:
        return None
    return MIN_DURATION if seconds < 0 else f"{seconds:.6f}"


def read_title(text: str) -> str:
    """Return the title after the duration; empty if players may read it differently."""
    title = text.partition(",")[2].strip()
    if TITLE.fullmatch(title) is None or names_file(title):
        return ""
    return clean_quoted(title) or ""
