"""Tests of the original request that a front door forwards for authorization."""

import re
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.original_uri import (
    FORWARD_AUTH_HEADERS,
    NGINX_HEADERS,
    find_folder,
    find_video,
    read_forwarded,
    read_original,
    reject_foreign_headers,
)
from proxy.domain.reasons import Refusal
from proxy.domain.video import DEFAULT_PATTERN, VideoId

RULES = [
    re.compile(r"/play/(?P<video>[^/]+)\.m3u8"),
    re.compile(r"/hls/(?P<video>[^/]+)/[^/]+"),
    re.compile(r"/optional/(?P<video>x)?"),
]


def read(uri: str, path: str | None = None, method: str = "GET") -> str:
    paths = [uri.split("?", maxsplit=1)[0] if path is None else path]
    return find_video_or_reason([uri], paths, [method])


def find_video_or_reason(uris: list[str], paths: list[str], methods: list[str]) -> str:
    try:
        original = read_original(uris=uris, paths=paths, methods=methods)
        video = find_video(original.path, RULES, re.compile(DEFAULT_PATTERN))
    except Refusal as refusal:
        return str(refusal.reason)
    return f"{video} {','.join(original.query_tokens)}".strip()


@pytest.mark.parametrize(
    ("uri", "path", "expected"),
    [
        ("/play/x8abcd.m3u8", None, "x8abcd"),
        ("/play/x8abcd.m3u8?token=a", None, "x8abcd a"),
        ("/play/x8abcd.m3u8?a=1&token=a&token=b&token=", None, "x8abcd a,b,"),
        ("/play/x8abcd.m3u8?token=a%2Eb", None, "x8abcd a.b"),
        ("/hls/x8abcd/seg%2D1.ts", "/hls/x8abcd/seg-1.ts", "x8abcd"),
        ("/play/%788abcd.m3u8", "/play/x8abcd.m3u8", "x8abcd"),
        ("/hls/x8abcd/sec(a)", None, "x8abcd"),
    ],
)
def test_the_original_request_is_read(uri, path, expected):
    assert read(uri, path) == expected


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("/hls/x8other/../x8abcd/1.ts", "/hls/x8abcd/1.ts"),
        ("/hls/x8other/%2e%2e/x8abcd/1.ts", "/hls/x8abcd/1.ts"),
        ("/hls/x8other/%252e%252e/x8abcd/1.ts", "/hls/x8other/%2e%2e/x8abcd/1.ts"),
        ("/hls/x8abcd/..", "/hls/"),
        ("/hls/x8abcd/..", "/hls/x8abcd/.."),
        ("/hls/x8abcd/.", "/hls/x8abcd/."),
        ("/hls//x8abcd/1.ts", "/hls/x8abcd/1.ts"),
        ("/hls//x8abcd/1.ts", "/hls//x8abcd/1.ts"),
        ("/hls/./x8abcd/1.ts", "/hls/x8abcd/1.ts"),
        ("/hls/./x8abcd", "/hls/./x8abcd"),
        ("/hls/x8abcd%2f1.ts", "/hls/x8abcd/2.ts"),
        ("/hls/x8abcd%2F1.ts", "/hls/x8abcd/1.ts"),
        ("/play/x8abcd.m3u8;x", None),
        ("/play/x8abcd;x.m3u8", None),
        ("/play/x8abcd.m3u8#f", "/play/x8abcd.m3u8"),
        ("/play/x8abcd%23.m3u8", "/play/x8abcd#.m3u8"),
        ("/hls/x8abcd/a\\b", None),
        ("/hls/x8abcd/a%5cb", "/hls/x8abcd/a\\b"),
        ("/hls/x8abcd/a%00", "/hls/x8abcd/a\x00"),
        ("/hls/x8abcd/a%0a", "/hls/x8abcd/a\n"),
        ("/play/x8abcd.m3u8%0a", "/play/x8abcd.m3u8\n"),
        ("/hls/x8abcd/a%3fb", "/hls/x8abcd/a?b"),
        ("/hls/x8abcd/%c0%ae%c0%ae", "/hls/x8abcd/\udcc0\udcae"),
        ("/hls/x8abcd/%c3%a9", "/hls/x8abcd/é"),
        ("/hls/x8abcd/é", "/hls/x8abcd/é"),
        ("/hls/x8abcd/a b", "/hls/x8abcd/a b"),
        ("/play/X8ABCD.m3u8", None),
        ("/PLAY/x8abcd.m3u8", None),
        ("/play/x8other.m3u8", "/play/x8abcd.m3u8"),
        ("play/x8abcd.m3u8", None),
        ("http://evil.example/play/x8abcd.m3u8", "/play/x8abcd.m3u8"),
        ("/other/x8abcd.m3u8", None),
        ("/", None),
        ("/?/play/x8abcd.m3u8", "/"),
        ("/other?x=/play/x8abcd.m3u8", "/other"),
        ("/play/x8abcd.m3u8/more", None),
        ("/pre/play/x8abcd.m3u8", None),
        ("/optional/", None),
        ("/play/x8abcd.m3u8\r\nX: y", "/play/x8abcd.m3u8"),
    ],
)
def test_an_ambiguous_or_uncovered_path_is_refused(uri, path):
    assert read(uri, path) == "path-not-covered"


@pytest.mark.parametrize(
    ("uris", "paths", "methods"),
    [
        ([], ["/play/x8abcd.m3u8"], ["GET"]),
        ([""], ["/play/x8abcd.m3u8"], ["GET"]),
        (["/play/x8abcd.m3u8"] * 2, ["/play/x8abcd.m3u8"], ["GET"]),
        (["/play/x8abcd.m3u8"], [], ["GET"]),
        (["/play/x8abcd.m3u8"], [""], ["GET"]),
        (["/play/x8abcd.m3u8"], ["/play/x8abcd.m3u8", "/play/x8abcd.m3u8"], ["GET"]),
        (["/play/x8abcd.m3u8"], ["/play/x8abcd.m3u8"], []),
        (["/play/x8abcd.m3u8"], ["/play/x8abcd.m3u8"], ["GET", "GET"]),
    ],
)
def test_each_nginx_header_must_occur_exactly_once(uris, paths, methods):
    assert find_video_or_reason(uris, paths, methods) == "path-not-covered"


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
def test_read_only_methods_are_allowed(method):
    assert read("/play/x8abcd.m3u8", method=method) == "x8abcd"


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "get", "BREW", "PROPFIND"]
)
def test_methods_that_write_are_refused(method):
    assert read("/play/x8abcd.m3u8", method=method) == "path-not-covered"


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_text_raises_anything_but_a_refusal(uri, path):
    find_video_or_reason([uri], [path], ["GET"])


@given(st.text(max_size=40))
def test_a_path_is_allowed_only_if_it_decodes_to_nginx_s_path(tail):
    """For any file name, the raw path decodes to nginx's path, or the request is refused."""
    path = f"/hls/x8abcd/{tail}"
    answer = read(quote(path, safe="/%()"), path)

    assert answer in {"x8abcd", "path-not-covered"}
    if answer == "x8abcd":
        assert "/" not in tail and tail != ".." and tail.isprintable()


def read_video_or_reason(uris: list[str], methods: list[str]) -> str:
    try:
        original = read_forwarded(uris=uris, methods=methods)
        video = find_video(original.path, RULES, re.compile(DEFAULT_PATTERN))
    except Refusal as refusal:
        return refusal.detail
    return f"{original.method} {video} {','.join(original.query_tokens)}".strip()


AMBIGUOUS = (
    "servers may read the path differently: it contains %2F, or its decoded form contains //, a dot "
    "segment, one of \\ # ; % ?, or anything but printable ASCII"
)


@pytest.mark.parametrize(
    ("uris", "methods", "expected"),
    [
        (["/play/x8abcd.m3u8?token=a"], ["GET"], "GET x8abcd a"),
        (["/hls/x8abcd/seg%2D1.ts"], ["HEAD"], "HEAD x8abcd"),
        (["/hls/%78%38abcd/1.ts"], ["OPTIONS"], "OPTIONS x8abcd"),
        ([], ["GET"], "the header X-Forwarded-Uri must occur exactly once"),
        (["/play/x8abcd.m3u8"] * 2, ["GET"], "the header X-Forwarded-Uri must occur exactly once"),
        (["/play/x8abcd.m3u8"], [], "the header X-Forwarded-Method must occur exactly once"),
        (
            ["/play/x8abcd.m3u8"],
            ["GET", "POST"],
            "the header X-Forwarded-Method must occur exactly once",
        ),
        (["/play/x8abcd.m3u8"], ["POST"], "the original method is not GET, HEAD or OPTIONS"),
        (["http://host/play/x8abcd.m3u8"], ["GET"], "the URI is not a path of printable ASCII"),
        (["/hls/x8other/../x8abcd/1.ts"], ["GET"], AMBIGUOUS),
        (["/hls/x8other/%2e%2e/x8abcd/1.ts"], ["GET"], AMBIGUOUS),
        (["/hls/x8other%2f..%2fx8abcd/1.ts"], ["GET"], AMBIGUOUS),
        (["/hls//x8abcd/1.ts"], ["GET"], AMBIGUOUS),
        (["/hls/x8abcd/1.ts%3b"], ["GET"], AMBIGUOUS),
        (["/hls/x8abcd/%c3%a9"], ["GET"], AMBIGUOUS),
        (["/hls/x8abcd/%zz"], ["GET"], AMBIGUOUS),
        (["/elsewhere"], ["GET"], "no rule in auth.protected_paths matches"),
    ],
)
def test_a_forwarded_uri_must_not_change_by_normalization(uris, methods, expected):
    assert read_video_or_reason(uris, methods) == expected


def test_headers_of_the_other_front_door_are_refused():
    reject_foreign_headers({"X-Forwarded-For"}, FORWARD_AUTH_HEADERS, "/forward-auth")
    for name in FORWARD_AUTH_HEADERS + NGINX_HEADERS:
        with pytest.raises(Refusal) as refused:
            reject_foreign_headers({name}, FORWARD_AUTH_HEADERS + NGINX_HEADERS, "/elsewhere")
        assert refused.value.detail == (
            f"the header {name} is only for /elsewhere; call /elsewhere, or remove the header"
        )


@pytest.mark.parametrize(
    ("path", "folder"),
    [
        ("/hls/x8abcd/index.m3u8", "/hls/x8abcd/"),
        ("/hls/x8abcd/720p/index.m3u8", "/hls/x8abcd/"),
        ("/x8abcd/x8abcd/index.m3u8", "/x8abcd/"),
        ("/hls/x8abcd.m3u8", None),
        ("/x8abcd.m3u8", None),
        ("/hls/x8abcdef/x8abcd.m3u8", None),
    ],
)
def test_the_folder_of_a_video_is_named_after_the_video(path, folder):
    assert find_folder(path, VideoId("x8abcd")) == folder
