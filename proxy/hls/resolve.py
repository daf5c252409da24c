"""Resolve references as browsers do (WHATWG URL)."""

import re
from functools import lru_cache

import ada_url

from proxy.hls.child_names import NAME

MAX_CACHED_FOLDERS = 128  # all children of a playlist have the same base
# A scheme, or two slashes of either kind: absolute by the URL standard
ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:|[/\\]{2}", re.ASCII)
# Browsers do not encode these characters, but RFC 3986 does not allow them. Most servers decode
# them.
UNSAFE = re.compile(r"[^A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]", re.ASCII)
NOT_ENCODABLE = re.compile(r"[\ud800-\udfff]")
REMOVED = {ord(character): None for character in "\t\r\n"}
C0_AND_SPACE = "".join(map(chr, range(0x21)))


class UnresolvableError(ValueError):
    """A reference that is not a valid URL with any base, such as `https://[`."""


@lru_cache(MAX_CACHED_FOLDERS)
def get_folder(url: str) -> str:
    """Return an absolute URL up to the last slash of its path. Raises UnresolvableError."""
    return _join(url, ".")


def clean_reference(reference: str) -> str:
    """Remove what browsers ignore: blanks around a reference, tabs and line ends in it."""
    return reference.strip(C0_AND_SPACE).translate(REMOVED)


def is_absolute(reference: str) -> bool:
    """Return whether a clean reference does not depend on a base, except for its scheme."""
    return ABSOLUTE.match(reference) is not None


def resolve_uri(base: str, reference: str) -> str:
    """Return the absolute URL of a reference, without its fragment.

    Without a base, a relative reference is returned as it is.

    Raises:
        UnresolvableError: the reference is no URL.
    """
    if base and NAME.fullmatch(reference) is not None and ":" not in reference:
        return get_folder(base) + reference
    reference = NOT_ENCODABLE.sub("\ufffd", clean_reference(reference)).partition("#")[0]
    if not base and ABSOLUTE.match(reference) is None:
        return reference
    return _join(base.partition("#")[0], reference)


def _join(base: str, reference: str) -> str:
    try:
        url = ada_url.join_url(base, reference) if base else ada_url.normalize_url(reference)
    except ValueError:
        raise UnresolvableError(reference[:200]) from None
    return UNSAFE.sub(_encode, url)


def _encode(character: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in character[0].encode())
