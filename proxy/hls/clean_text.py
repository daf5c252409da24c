"""Text that a relayed playlist may contain: no URL, and nothing that players read differently."""

import re

# A tag or attribute that a player may find in the middle of a text.
EMBEDDED_SYNTAX = re.compile(r"#EXT|(?:URI|LIST)\s*=", re.IGNORECASE)
# Control characters, line ends of any kind, and invisible characters.
UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff\ud800-\udfff]"
)
SLASHES = re.compile(r"\s*[/\\]{2}")
# Only the last character of a scheme is matched: a whole scheme would take quadratic time.
URL = re.compile(r"https?(?::|%3a)|[a-z0-9+.-]:[/\\]{2}|^\s*[/\\]{2}", re.IGNORECASE | re.ASCII)
# The end of a reference to a file, such as `/b.m3u8?x=1`.
FILE = re.compile(
    r"[^\s/?#]\.(?:m3u8?|mpd|ts|mp4|m4[sva]|aac|mp3|ac3|ec3|vtt|key|bin|json|jpe?g|png|webp|gif|html?)"
    r"(?:[?#].*)?\Z",
    re.IGNORECASE | re.ASCII,
)
# A query, which may contain a signature.
QUERY = re.compile(r"\?[^\s?]*=")
UNQUOTED = re.compile(r"[^\s\"',\\#{}<>]+")
RAW_VALUE = re.compile(r"[A-Za-z0-9+/=._:;,@()| -]*", re.ASCII)


def contains_url(text: str) -> bool:
    """Return whether a text contains an absolute URL, or is a URL without a scheme.

    Base64 may contain `//`, so two slashes count only at the beginning.
    """
    if ":" in text or "%" in text:  # most texts have neither
        return URL.search(text) is not None
    return SLASHES.match(text) is not None


def names_file(text: str) -> bool:
    """Return whether a text ends like a reference to a file, such as `a/b.m3u8?x=1`."""
    return ("/" in text or "?" in text) and FILE.search(text.strip("' ;,.")) is not None


def clean_quoted(text: str) -> str | None:
    """Return a text for a quoted string, without the characters that players read differently.

    None if the text contains a URL or syntax of a playlist.
    """
    is_printable = text.isascii() and text.isprintable()
    printable = (text if is_printable else UNPRINTABLE.sub("", text)).replace('"', "'")
    clean = printable.replace("\\", "")
    has_syntax = ("#" in clean or "=" in clean) and EMBEDDED_SYNTAX.search(clean) is not None
    is_unsafe = has_syntax or QUERY.search(clean) is not None or "../" in clean
    return None if is_unsafe or contains_url(printable) or contains_url(clean) else clean


def clean_unquoted(text: str) -> str | None:
    """Return a text for an unquoted value: up to the first character that ends it anywhere."""
    value = UNQUOTED.match(text)
    return None if value is None else clean_quoted(value[0])


def clean_raw_value(text: str) -> str | None:
    """Return the value of an unknown tag, which is no attribute list; None to drop the tag."""
    is_plain = RAW_VALUE.fullmatch(text) is not None and not names_file(text)
    return text if is_plain and clean_quoted(text) == text else None
