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

from proxy.domain.caches import cached_up_to
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.tokens.compact import tokens_in
from proxy.domain.video import VideoId, parse_video_id

# What each kind of front door sets, and so takes from clients. Headers of another kind it may let
# through from a client: where there is one of them, somebody asks the wrong route.
NGINX = ("X-Original-URI", "X-Original-Path", "X-Original-Method")
FORWARD_AUTH = ("X-Forwarded-Uri", "X-Forwarded-Method")

METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

CACHED_URIS = 2000  # the files that are being watched, with a cookie
MAX_CACHED_URI = 1500  # characters

# Printable ASCII: what remains is refused before anybody can disagree about it.
RAW_URI = re.compile(r"(?P<path>/[\x21-\x7e]*?)(?:\?(?P<query>[\x21-\x7e]*))?", re.ASCII)
AMBIGUOUS = re.compile(r"//|/\.{1,2}(?:/|\Z)|[\\#;%?\x00-\x20\x7f-\U0010ffff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """The request that a front door asks about; its path can be read in one way only."""

    method: str
    path: str
    query: str
    query_tokens: tuple[str, ...]  # the value of every `token` in the query

    @property
    def parameters(self) -> tuple[tuple[str, str], ...]:
        """Return the query's names and values."""
        return tuple(parse_qsl(self.query, keep_blank_values=True))


def read_original(*, uris: Sequence[str], paths: Sequence[str], methods: Sequence[str]) -> Original:
    """Return the original request, or refuse with `path-not-covered`.

    Takes every value of nginx's `X-Original-URI` (`$request_uri`), `X-Original-Path` (`$uri` in the
    protected location) and `X-Original-Method`; of each, exactly one will do.
    """
    path = _only(paths, "X-Original-Path")
    original = _read(_only(uris, "X-Original-URI"), _only(methods, "X-Original-Method"))
    if original.path != path:
        raise _not_covered("X-Original-URI and X-Original-Path name different paths")
    return original


def read_forwarded(*, uris: Sequence[str], methods: Sequence[str]) -> Original:
    """Return the original request as Caddy and Traefik tell it, or refuse with `path-not-covered`.

    Takes every value of `X-Forwarded-Uri` and `X-Forwarded-Method`; of each, exactly one will do.
    """
    return _read(_only(uris, "X-Forwarded-Uri"), _only(methods, "X-Forwarded-Method"))


def check_unmixed(given: Container[str], others: Sequence[str], route: str) -> None:
    """Refuse with `path-not-covered` a question with headers that belong to another route."""
    for name in others:
        if name in given:
            raise _not_covered(f"{name} is not for this route, but for {route}")


def folder_of(path: str, video: VideoId) -> str | None:
    """Return the folder that is named after a video and has its files; None where none is."""
    before, folder, _ = path.partition(f"/{video}/")
    return f"{before}{folder}" if folder else None


def video_of(
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
                raise _not_covered(
                    "a rule in auth.paths matches, but not platform.video_id_pattern"
                ) from None
    raise _not_covered("no rule in auth.paths matches")


def _read(uri: str, method: str) -> Original:
    if method not in METHODS:
        raise _not_covered("the method is not GET, HEAD or OPTIONS")
    path, query, tokens = _split(uri)
    return Original(method=method, path=path, query=query, query_tokens=tokens)


def _split_uncached(uri: str) -> tuple[str, str, tuple[str, ...]]:
    if (raw := RAW_URI.fullmatch(uri)) is None:
        raise _not_covered("the URI is not a path of printable ASCII")
    path = unquote(raw["path"]) if "%" in raw["path"] else raw["path"]
    if AMBIGUOUS.search(path) is not None or "%2f" in raw["path"].lower():
        raise _not_covered("the path can be read in more than one way")
    query = raw["query"] or ""
    return path, query, tuple(tokens_in(query))


_split = cached_up_to(MAX_CACHED_URI, entries=CACHED_URIS, function=_split_uncached)


def _only(values: Sequence[str], name: str) -> str:
    if len(values) != 1 or not values[0]:
        raise _not_covered(f"{name} must be there exactly once")
    return values[0]


def _not_covered(why: str) -> Refusal:
    return Refusal(Reason.PATH_NOT_COVERED, why)
