"""What a front door asks about: the original request's path, token and method.

A front door serves a file by its own normalised path; the viewer wrote the raw one. nginx tells
both (`$uri`, `$request_uri`): where decoding the raw one once does not give exactly nginx's, the
two could be read as different files, and nobody gets anything. Others tell the raw one only, which
then has to be one that everybody normalises to itself.
"""

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

from proxy.domain.caches import cache_short_texts
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.tokens.compact import read_query_tokens
from proxy.domain.video import VideoId, parse_video_id

# What each kind of front door sets, and so takes from clients. Headers of another kind it may let
# through from a client: where there is one of them, somebody asks the wrong route.
NGINX_HEADERS = ("X-Original-URI", "X-Original-Path", "X-Original-Method")
FORWARD_AUTH_HEADERS = ("X-Forwarded-Uri", "X-Forwarded-Method")

METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

MAX_CACHED_URIS = 2000  # the files that are being watched, with a cookie
MAX_CACHED_URI_LENGTH = 1500  # characters

# Printable ASCII: what remains is refused before anybody can disagree about it.
RAW_URI = re.compile(r"(?P<path>/[\x21-\x7e]*?)(?:\?(?P<query>[\x21-\x7e]*))?", re.ASCII)
AMBIGUOUS_PATH = re.compile(r"//|/\.{1,2}(?:/|\Z)|[\\#;%?\x00-\x20\x7f-\U0010ffff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginalRequest:
    """The request that a front door asks about; its path can be read in one way only."""

    method: str
    path: str
    query: str
    query_tokens: tuple[str, ...]  # the value of every `token` in the query

    @property
    def parse_query(self) -> tuple[tuple[str, str], ...]:
        """Return the query's names and values."""
        return tuple(parse_qsl(self.query, keep_blank_values=True))


def read_original(
    *, uris: Sequence[str], paths: Sequence[str], methods: Sequence[str]
) -> OriginalRequest:
    """Return the original request, or refuse with `path-not-covered`.

    Takes every value of nginx's `X-Original-URI` (`$request_uri`), `X-Original-Path` (`$uri` in the
    protected location) and `X-Original-Method`; of each, exactly one will do.
    """
    path = _get_single_value(paths, "X-Original-Path")
    original = _parse_uri(
        _get_single_value(uris, "X-Original-URI"), _get_single_value(methods, "X-Original-Method")
    )
    if original.path != path:
        raise _build_refusal("X-Original-URI and X-Original-Path name different paths")
    return original


def read_forwarded(*, uris: Sequence[str], methods: Sequence[str]) -> OriginalRequest:
    """Return the original request as Caddy and Traefik tell it, or refuse with `path-not-covered`.

    Takes every value of `X-Forwarded-Uri` and `X-Forwarded-Method`; of each, exactly one will do.
    """
    return _parse_uri(
        _get_single_value(uris, "X-Forwarded-Uri"), _get_single_value(methods, "X-Forwarded-Method")
    )


def reject_foreign_headers(given: Container[str], others: Sequence[str], route: str) -> None:
    """Refuse with `path-not-covered` a question with headers that belong to another route."""
    for name in others:
        if name in given:
            raise _build_refusal(f"{name} is not for this route, but for {route}")


def find_folder(path: str, video: VideoId) -> str | None:
    """Return the folder that is named after a video and has its files; None where none is."""
    before, folder, _ = path.partition(f"/{video}/")
    return f"{before}{folder}" if folder else None


def find_video(
    path: str, rules: Sequence[re.Pattern[str]], video_id_pattern: re.Pattern[str]
) -> VideoId:
    """Return the video that a normalised path belongs to, or refuse with `path-not-covered`.

    The first rule that matches the whole path decides, by its group `video`.
    """
    for rule in rules:
        if (match := rule.fullmatch(path)) is not None:
            try:
                return parse_video_id(match["video"] or "", video_id_pattern)
            except Refusal:
                raise _build_refusal(
                    "a rule in auth.protected_paths matches, but not platform.video_id_pattern"
                ) from None
    raise _build_refusal("no rule in auth.protected_paths matches")


def _parse_uri(uri: str, method: str) -> OriginalRequest:
    if method not in METHODS:
        raise _build_refusal("the method is not GET, HEAD or OPTIONS")
    path, query, tokens = _split(uri)
    return OriginalRequest(method=method, path=path, query=query, query_tokens=tokens)


def _split_uncached(uri: str) -> tuple[str, str, tuple[str, ...]]:
    if (raw := RAW_URI.fullmatch(uri)) is None:
        raise _build_refusal("the URI is not a path of printable ASCII")
    path = unquote(raw["path"]) if "%" in raw["path"] else raw["path"]
    if AMBIGUOUS_PATH.search(path) is not None or "%2f" in raw["path"].lower():
        raise _build_refusal("the path can be read in more than one way")
    query = raw["query"] or ""
    return path, query, tuple(read_query_tokens(query))


_split = cache_short_texts(
    MAX_CACHED_URI_LENGTH, max_entries=MAX_CACHED_URIS, function=_split_uncached
)


def _get_single_value(values: Sequence[str], name: str) -> str:
    if len(values) != 1 or not values[0]:
        raise _build_refusal(f"{name} must be there exactly once")
    return values[0]


def _build_refusal(why: str) -> Refusal:
    return Refusal(Reason.PATH_NOT_COVERED, why)
