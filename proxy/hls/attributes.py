"""Write attribute lists anew, in one form that every parser reads the same way."""

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from urllib.parse import unquote_to_bytes

from proxy.domain.allowed_hosts import AllowedHosts
from proxy.domain.reasons import Reason, Refusal
from proxy.hls.children import Children
from proxy.hls.clean_text import clean_quoted, clean_unquoted, contains_url, names_file
from proxy.hls.json_lists import JsonListInvalidError, strip_steering
from proxy.hls.lexer import Line
from proxy.hls.resolve import UNSAFE, UnresolvableError, clean_reference
from proxy.hls.tags import TAGS, Role
from proxy.hls.value_syntax import ANY, SOME
from proxy.hls.variables import Variables

# The attributes of each tag whose value may be any text, such as a name.
TEXT_ATTRIBUTES = {
    tag.name: frozenset(attr.name for attr in tag.attrs if attr.shape in {ANY, SOME})
    for tag in TAGS.values()
}
# The attributes of each tag that contain a URI, and the resource that it leads to.
URI_ATTRIBUTES: dict[str, dict[str, Role]] = {
    tag.name: roles
    for tag in TAGS.values()
    if (roles := {attr.name: attr.role for attr in tag.attrs if attr.role is not None})
}

# How the names of attributes with a URI end.
URI_NAMES = ("URI", "X-ASSET-LIST")
ATTRIBUTE_NAME = re.compile(r"[A-Z0-9][A-Z0-9_-]{0,63}", re.ASCII | re.IGNORECASE)
MAX_ATTRIBUTES = 200  # per tag; the rest is dropped
KEY_TAGS = frozenset({"EXT-X-KEY", "EXT-X-SESSION-KEY"})
# Keys that are no network address: the key itself, a FairPlay asset, a DRM system.
LOCAL_KEY = re.compile(r"(?:data|skd|urn):", re.IGNORECASE)
DATA_URL = re.compile(r"data:(?P<type>[^,]*?)(?P<base64>;base64)?,(?P<data>.*)", re.IGNORECASE)
# Tags that a playlist plays without. If one leads to a host that is not allowed, only the tag goes.
OPTIONAL_TAGS = frozenset(
    {
        "EXT-X-DATERANGE",
        "EXT-X-SESSION-DATA",
        "EXT-X-CONTENT-STEERING",
        "EXT-X-IMAGE-STREAM-INF",
        "EXT-X-RENDITION-REPORT",
        "EXT-X-PRELOAD-HINT",
        "EXT-X-PREFETCH",
        "EXT-X-TWITCH-PREFETCH",
    }
)


class OptionalTagError(ValueError):
    """An optional tag must be dropped, because it leads to a host that is not allowed."""


Attributes = dict[str, str]  # the written values by name, with their quotes


def format_attributes(tag: str, attributes: Attributes) -> str:
    """Return the line of a tag with an attribute list."""
    return f"#{tag}:" + ",".join(f"{name}={value}" for name, value in attributes.items())


class AttributeWriter:
    """Writes the attributes of one playlist's tags."""

    def __init__(self, children: Children, variables: Variables, hosts: AllowedHosts) -> None:
        self._children = children
        self._variables = variables
        self._hosts = hosts

    def write(self, line: Line) -> Attributes:
        """Return the attributes that the relayed tag has.

        Drops attributes that are malformed or repeated, and those of unknown meaning that contain a
        URL. A URI becomes a child.

        Raises:
            OptionalTagError: the tag must be dropped, with the children that it has added.
            Refusal: a URI leads to a host that is not allowed.
        """
        texts = TEXT_ATTRIBUTES.get(line.tag, ())
        roles = URI_ATTRIBUTES.get(line.tag, {})
        written: Attributes = {}
        for name, value, is_quoted, *_ in line.attributes[:MAX_ATTRIBUTES]:
            if name in written or ATTRIBUTE_NAME.fullmatch(name) is None:
                continue
            filled = self._variables.fill(value)
            if (role := roles.get(name)) is not None:
                text = self._write_uri(line, filled, role)
            elif name.upper().endswith(URI_NAMES):
                text = None
            else:
                text = self._write_text(filled, is_quoted=is_quoted, is_text=name in texts)
            if text is not None:
                written[name] = text
        return written

    def write_value(self, line: Line, role: Role) -> str:
        """Return the text for a tag whose value is a URI. Raises as `write` does."""
        uri = self._add(line, self._variables.fill(line.value), role)
        if uri is None:
            raise OptionalTagError
        return uri

    def _write_text(self, value: str, *, is_quoted: bool, is_text: bool) -> str | None:
        clean = clean_quoted(value) if is_quoted else clean_unquoted(value)
        if clean is None or self._hosts.occur_in(clean) or (not is_text and names_file(clean)):
            return None
        return f'"{clean}"' if is_quoted else clean

    def _write_uri(self, line: Line, uri: str, role: Role) -> str | None:
        uri = clean_reference(uri)
        if not uri:
            return None
        if line.tag in KEY_TAGS and LOCAL_KEY.match(uri) is not None:
            is_clean = not contains_url(uri.partition(":")[2].lstrip("/"))
            return f'"{UNSAFE.sub("", uri)}"' if is_clean else None
        if role == "steering" and (data := DATA_URL.fullmatch(uri)) is not None:
            return f'"{_rewrite_steering(data)}"'
        text = self._add(line, uri, role)
        return None if text is None else f'"{text}"'

    def _add(self, line: Line, uri: str, role: Role) -> str | None:
        try:
            return self._children.add(uri, role)
        except UnresolvableError:
            return None
        except Refusal as refusal:
            is_foreign = refusal.reason == Reason.STREAM_HOST_NOT_ALLOWED
            if is_foreign and line.tag in OPTIONAL_TAGS:
                raise OptionalTagError from None
            raise


def _rewrite_steering(data: re.Match[str]) -> str:
    """Return a steering manifest in a data URL without references to other hosts."""
    body = unquote_to_bytes(data["data"])
    try:
        body = b64decode(body, validate=True) if data["base64"] else body
        manifest = strip_steering(body)
    except (Base64Error, JsonListInvalidError):
        raise OptionalTagError from None
    return f"data:application/json;base64,{b64encode(manifest).decode()}"
