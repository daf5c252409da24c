"""Read the original request (path, query, tokens, method) from a front door's auth subrequest.

A front door serves files by its own normalized path, but the viewer sent the raw path. nginx
forwards both (`$uri`, `$request_uri`). If decoding the raw path once does not give exactly nginx's
path, the two may name different files, and the request is refused. Other front doors forward only
the raw path; it must then be a path that normalization does not change.
"""

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from proxy.domain.caches import cache_short_texts
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.tokens.compact import read_query_tokens
from proxy.domain.video import VideoId, parse_video_id

# A front door overwrites its own headers, but forwards the other kind's headers from clients. If it
# used the other kind's route, clients could forge the original request. So each route refuses the
# headers of the other.
NGINX_HEADERS = ("X-Original-URI", "X-Original-Path", "X-Original-Method")
FORWARD_AUTH_HEADERS = ("X-Forwarded-Uri", "X-Forwarded-Method")

METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

MAX_CACHED_URIS = 2000  # files in playback, whose URIs repeat if the token is in a cookie
MAX_CACHED_URI_LENGTH = 1500  # characters

# Printable ASCII only: parsers may disagree about any other character.
RAW_URI = re.compile(r"(?P<path>/[\x21-\x7e]*?)(?:\?(?P<query>[\x21-\x7e]*))?", re.ASCII)
AMBIGUOUS_PATH = re.compile(r"//|/\.{1,2}(?:/|\Z)|[\\#;%?\x00-\x20\x7f-\U0010ffff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginalRequest:
    """The viewer's request to the front door; its path has exactly one interpretation."""

    method: str
    path: str
    query_tokens: tuple[str, ...]  # the values of all `token` parameters in the query


def read_original(
    *, uris: Sequence[str], paths: Sequence[str], methods: Sequence[str]
) -> OriginalRequest:
    """Read the original request from nginx's headers.

    Args:
        uris: all values of `X-Original-URI` (nginx's `$request_uri`).
        paths: all values of `X-Original-Path` (nginx's `$uri` in the protected location).
        methods: all values of `X-Original-Method`.

    Raises:
        Refusal: `path-not-covered`; also if a header does not have exactly one value.
    """
    path = _get_single_value(paths, "X-Original-Path")
    original = _parse_uri(
        _get_single_value(uris, "X-Original-URI"), _get_single_value(methods, "X-Original-Method")
    )
    if original.path != path:
        raise _build_refusal("X-Original-URI and X-Original-Path name different paths")
    return original


def read_forwarded(*, uris: Sequence[str], methods: Sequence[str]) -> OriginalRequest:
    """Read the original request from the headers of Caddy and Traefik.

    Args:
        uris: all values of `X-Forwarded-Uri`.
        methods: all values of `X-Forwarded-Method`.

    Raises:
        Refusal: `path-not-covered`; also if a header does not have exactly one value.
    """
    return _parse_uri(
        _get_single_value(uris, "X-Forwarded-Uri"), _get_single_value(methods, "X-Forwarded-Method")
    )


def reject_foreign_headers(
    headers: Container[str], foreign_names: Sequence[str], route: str
) -> None:
    """Refuse a request with headers that belong to the other auth route.

    Raises:
        Refusal: `path-not-covered`.
    """
    for name in foreign_names:
        if name in headers:
            raise _build_refusal(
                f"the header {name} is only for {route}; call {route}, or remove the header"
            )


def find_folder(path: str, video: VideoId) -> str | None:
    """Return the part of the path up to the folder named after the video; None without one."""
    before, folder, _ = path.partition(f"/{video}/")
    return f"{before}{folder}" if folder else None


def find_video(
    path: str, rules: Sequence[re.Pattern[str]], video_id_pattern: re.Pattern[str]
) -> VideoId:
    """Return the ID of the video that a normalized path belongs to.

    The group `video` of the first rule that matches the whole path gives the ID.

    Raises:
        Refusal: `path-not-covered`.
    """
    for rule in rules:
        if (match := rule.fullmatch(path)) is not None:
            try:
                return parse_video_id(match["video"] or "", video_id_pattern)
            except Refusal:
                raise _build_refusal(
                    "a rule in auth.protected_paths matches, but platform.video_id_pattern does not"
                ) from None
    raise _build_refusal("no rule in auth.protected_paths matches")


def _parse_uri(uri: str, method: str) -> OriginalRequest:
    if method not in METHODS:
        raise _build_refusal("the original method is not GET, HEAD or OPTIONS")
    path, tokens = _split(uri)
    return OriginalRequest(method=method, path=path, query_tokens=tokens)


def _split_uncached(uri: str) -> tuple[str, tuple[str, ...]]:
    if (raw := RAW_URI.fullmatch(uri)) is None:
        raise _build_refusal("the URI is not a path of printable ASCII")
    path = unquote(raw["path"]) if "%" in raw["path"] else raw["path"]
    if AMBIGUOUS_PATH.search(path) is not None or "%2f" in raw["path"].lower():
        raise _build_refusal(
            "servers may read the path differently: it contains %2F, or its decoded form contains "
            "//, a dot segment, one of \\ # ; % ?, or anything but printable ASCII"
        )
    return path, tuple(read_query_tokens(raw["query"] or ""))


_split = cache_short_texts(
    MAX_CACHED_URI_LENGTH, max_entries=MAX_CACHED_URIS, function=_split_uncached
)


def _get_single_value(values: Sequence[str], name: str) -> str:
    if len(values) != 1 or not values[0]:
        raise _build_refusal(f"the header {name} must occur exactly once")
    return values[0]


def _build_refusal(cause: str) -> Refusal:
    return Refusal(Reason.PATH_NOT_COVERED, cause)
