"""Lines, attributes, URLs and variables of playlists, and checks of arbitrary bodies."""

import pytest
from hls.relayed import catch_reason, list_urls, rewrite
from hypothesis import given
from hypothesis import strategies as st

from proxy.hls.lexer import scan
from proxy.hls.lint.check import check
from proxy.hls.playlist_writer import is_playlist
from proxy.hls.resolve import UnresolvableError, resolve_uri
from proxy.hls.variables import Variables

# Text that is likely to be read as something.
PIECES = st.sampled_from(
    [
        *("#EXTM3U", "#EXTINF:", "#EXT-X-KEY:", "#EXT-X-MEDIA:", "#EXT-X-STREAM-INF:", "#EXT-X-DEFINE:"),
        *("#EXT-X-DATERANGE:", "#EXT-X-PART:", "#EXT-X-SERVER-CONTROL:", "#EXT-X-BYTERANGE:", "#EXT"),
        *("URI=", "METHOD=", "TYPE=", "BANDWIDTH=", "START-DATE=", "END-DATE=", "DURATION=", "IV="),
        *('"', '"a"', ",", "=", "\n", "\r\n", "\r", "\0", "{$a}", "1", "9" * 400, "1e999", "-1", "x.ts", "é"),
        *("2026-11-20T18:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T24:00:00-23:59", "@", "#", "\ufeff", " "),
    ]
)  # fmt: skip
TEXTS = st.text() | st.lists(PIECES, max_size=40).map("".join)


# Examples of RFC 3986, 5.4, and other URIs, as browsers resolve them (WHATWG URL).
BASE = "http://a/b/c/d;p?q"
RESOLVED = {
    "g": "http://a/b/c/g", "./g": "http://a/b/c/g", "g/": "http://a/b/c/g/", "/g": "http://a/g",
    "//g": "http://g/", "?y": "http://a/b/c/d;p?y", "g?y": "http://a/b/c/g?y", "#s": "http://a/b/c/d;p?q",
    "g#s": "http://a/b/c/g", "g?y#s": "http://a/b/c/g?y", ";x": "http://a/b/c/;x", "g;x": "http://a/b/c/g;x",
    "g;x?y#s": "http://a/b/c/g;x?y", "": "http://a/b/c/d;p?q", ".": "http://a/b/c/", "./": "http://a/b/c/",
    "..": "http://a/b/", "../": "http://a/b/", "../g": "http://a/b/g", "../..": "http://a/", "../../": "http://a/",
    "../../g": "http://a/g", "../../../g": "http://a/g", "../../../../g": "http://a/g", "/./g": "http://a/g",
    "/../g": "http://a/g", "g.": "http://a/b/c/g.", ".g": "http://a/b/c/.g", "g..": "http://a/b/c/g..",
    "..g": "http://a/b/c/..g", "./../g": "http://a/b/g", "./g/.": "http://a/b/c/g/", "g/./h": "http://a/b/c/g/h",
    "g/../h": "http://a/b/c/h", "g;x=1/./y": "http://a/b/c/g;x=1/y", "g;x=1/../y": "http://a/b/c/y",
    "g?y/./x": "http://a/b/c/g?y/./x", "g?y/../x": "http://a/b/c/g?y/../x", "g#s/../x": "http://a/b/c/g",
    "https://h/x/../y?z#f": "https://h/y?z", "data:a,b": "data:a,b", "a//b": "http://a/b/c/a//b",
    "2026:a": "http://a/b/c/2026:a", "//h:81/x/./y?z": "http://h:81/x/y?z", "http:g": "http://a/b/c/g", "HTTPS://H/a": "https://h/a", " g ": "http://a/b/c/g", "\tg": "http://a/b/c/g", "g/%2e%2e/h": "http://a/b/c/h",
}  # fmt: skip


@pytest.mark.parametrize("uri", RESOLVED)
def test_a_uri_is_resolved_as_browsers_do(uri):
    assert resolve_uri(BASE, uri) == RESOLVED[uri]


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("https://h", "https://h/g"), ("https://h?q", "https://h/g"), ("https://h/x/../y/z", "https://h/y/g"),
        ("https://h/a?b/c#d/e", "https://h/g"), ("", "g"),
    ],
)  # fmt: skip
def test_a_uri_is_resolved_against_the_base_folder(base, expected):
    assert resolve_uri(base, "g") == expected


@pytest.mark.parametrize(
    "uri", ["https://[", "https://a b/", "https://a:99999999/", "//", "https://\u00ad"]
)
def test_a_uri_that_is_no_url_is_an_error(uri):
    with pytest.raises(UnresolvableError):
        resolve_uri(BASE, uri)


@given(TEXTS)
def test_joined_lines_reproduce_the_text(text):
    assert "".join(line.text + line.ending for line in scan(text)) == text


@given(st.binary() | TEXTS.map(lambda text: f"#EXTM3U\n{text}".encode()))
def test_no_body_makes_the_check_raise(body):
    check(body, base="https://example.com/a.m3u8?a=1")


@given(st.lists(PIECES, max_size=40).map("".join))
def test_a_relayed_playlist_contains_relay_urls_only(text):
    body = f"#EXTM3U\n{text}\n#EXTINF:1,\nlast.ts\n"
    assert is_playlist(body.encode())
    if catch_reason(lambda: rewrite(body)) == "opened":
        relayed = rewrite(body)
        assert all(
            url.startswith("https://") for url in list_urls(relayed.replace("unavailable", ""))
        )
        assert all("#" not in line[1:] for line in relayed.splitlines())


def test_attributes_are_parsed_up_to_a_syntax_error():
    (line,) = scan('#EXT-X-T:A="x,y",B=1, C = "z" ,,D="open')

    assert [(attribute.name, attribute.value, attribute.is_clean) for attribute in line.attributes] == [
        ("A", "x,y", True), ("B", "1", True), ("C", "z", True), ("D", "open", False),
    ]  # fmt: skip


HOSTILE = [
    '#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS="avc1' + ",avc1" * 300_000 + ',!"\na.m3u8\n',
    '#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS="avc1' + ",avc1" * 700 + ',!"\na.m3u8\n',
    '#EXT-X-STREAM-INF:BANDWIDTH=1,ALLOWED-CPC="' + "a:A," * 900 + '!"\na.m3u8\n',
    '#EXT-X-KEY:METHOD=AES-128,URI="k",KEYFORMATVERSIONS="' + "1/" * 1900 + 'x"\n',
    *(f"#EXT-X-{tag}:{what}\n#EXTINF:4,\na.ts\n" for tag in ("KEY", "FOO", "STREAM-INF", "DATERANGE")
      for what in ("," * 1_900_000, "a   " * 480_000, 'a=",' * 480_000, "a=" * 900_000, "," * 4000)),
    "#EXT-X-STREAM-INF:\n" * 100_000,
    "#EXT-X-STREAM-INF:SCORE=1,CLOSED-CAPTIONS=NONE\nx\n" * 30_000,
    '#EXT-X-DEFINE:QUERYPARAM="a"\n' * 60_000,
    '#EXT-X-DATERANGE:ID="a",START-DATE="2026-11-20T18:00:00Z"\n' * 30_000,
    "\r" * 2_000_000,
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_playlists_are_read_quickly(text):
    """Each of these playlists used to take minutes or more; now about a second."""
    check(f"#EXTM3U\n{text}".encode(), base="https://a/b.m3u8?" + "c=d&" * 2000)
    catch_reason(lambda: rewrite(f"#EXTM3U\n{text}"))


def test_variable_substitution_is_bounded():
    """Values may total two thousand characters, and their use in a text is limited."""
    much = (
        '#EXTM3U\n#EXT-X-DEFINE:NAME="a",VALUE="'
        + "A" * 2000
        + '"\n#EXTINF:4,\n'
        + "{$a}" * 900
        + "\n"
    )
    variables = Variables()
    assert variables.define({"NAME": "a", "VALUE": "A" * 2000}) is None
    assert variables.define({"NAME": "b", "VALUE": "B" * 100}) is None

    assert len(variables.fill("{$a}" * 900)) < 8192 + 4 * 900
    assert variables.unknown == {"b"} and variables.fill("{$b}") == "{$b}"
    check(much.encode())


def test_an_empty_variable_is_substituted():
    variables = Variables()
    variables.define({"NAME": "a", "VALUE": ""})

    assert variables.fill("x{$a}y{$b}") == "xy{$b}"


def test_a_variable_whose_name_is_invalid_is_not_defined():
    variables = Variables()

    assert variables.define({"NAME": "a b", "VALUE": "c"}) == ""
    assert variables.values == {}
