"""Rewriting changes only URIs, at their positions; every other byte stays the same."""

from urllib.parse import urljoin

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from proxy.domain.variant_limits import NO_LIMITS, VariantLimits
from proxy.hls.lexer import scan
from proxy.hls.lint.check import check
from proxy.hls.resolve import resolve_uri
from proxy.hls.rewrite import references, rewrite
from proxy.hls.variables import Variables
from proxy.hls.variants import drop_variants

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


@given(TEXTS)
def test_rewriting_without_changes_returns_the_same_text(text):
    assert rewrite(references(text), lambda reference: reference.uri) == text


# Examples of RFC 3986, 5.4, and other URIs as players resolve them.
BASE = "http://a/b/c/d;p?q"
RESOLVED = {
    "g": "http://a/b/c/g", "./g": "http://a/b/c/g", "g/": "http://a/b/c/g/", "/g": "http://a/g",
    "//g": "http://g", "?y": "http://a/b/c/d;p?y", "g?y": "http://a/b/c/g?y", "#s": "http://a/b/c/d;p?q",
    "g#s": "http://a/b/c/g", "g?y#s": "http://a/b/c/g?y", ";x": "http://a/b/c/;x", "g;x": "http://a/b/c/g;x",
    "g;x?y#s": "http://a/b/c/g;x?y", "": "http://a/b/c/d;p?q", ".": "http://a/b/c/", "./": "http://a/b/c/",
    "..": "http://a/b/", "../": "http://a/b/", "../g": "http://a/b/g", "../..": "http://a/", "../../": "http://a/",
    "../../g": "http://a/g", "../../../g": "http://a/g", "../../../../g": "http://a/g", "/./g": "http://a/g",
    "/../g": "http://a/g", "g.": "http://a/b/c/g.", ".g": "http://a/b/c/.g", "g..": "http://a/b/c/g..",
    "..g": "http://a/b/c/..g", "./../g": "http://a/b/g", "./g/.": "http://a/b/c/g/", "g/./h": "http://a/b/c/g/h",
    "g/../h": "http://a/b/c/h", "g;x=1/./y": "http://a/b/c/g;x=1/y", "g;x=1/../y": "http://a/b/c/y",
    "g?y/./x": "http://a/b/c/g?y/./x", "g?y/../x": "http://a/b/c/g?y/../x", "g#s/../x": "http://a/b/c/g",
    "https://h/x/../y?z#f": "https://h/x/../y?z", "data:a,b": "data:a,b", "a//b": "http://a/b/c/a//b",
    "2026:a": "http://a/b/c/2026:a", "//h:81/x/./y?z": "http://h:81/x/y?z", "http:g": "http:g",
    "//[": "http://[", "HTTPS://H/a": "https://H/a", " g ": "http://a/b/c/g", "\tg": "http://a/b/c/g", "g/%2e%2e/h": "http://a/b/c/g/%2e%2e/h",
}  # fmt: skip


@pytest.mark.parametrize("uri", RESOLVED)
def test_a_uri_is_resolved_according_to_rfc_3986(uri):
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


PARTS = st.text("ab.%()~:@=,-_+!2f/?#", max_size=8)


@given(st.lists(PARTS, max_size=4).map("/".join), PARTS, st.sampled_from(["", ":8443"]))
def test_resolution_agrees_with_urljoin(uri, path, port):
    base = f"https://cdn.example.com{port}/{path}"
    # Only inputs for which urljoin is correct: it merges slashes and drops an empty query.
    paths = [text.partition("#")[0].partition("?")[0] for text in (base.partition("//")[2], uri)]
    assume(not any("//" in text for text in paths))
    expected = urljoin(base, uri).partition("#")[0]

    assert resolve_uri(base, uri).rstrip("?") == expected.rstrip("?")


@given(TEXTS)
def test_joined_lines_reproduce_the_text(text):
    assert "".join(line.text + line.ending for line in scan(text)) == text


@given(TEXTS)
def test_a_reference_gives_the_position_of_its_uri(text):
    for line, found in references(text):
        for reference in found:
            assert line.text[reference.start : reference.end] == reference.uri


@given(st.binary() | TEXTS.map(lambda text: f"#EXTM3U\n{text}".encode()))
def test_no_body_makes_the_check_raise(body):
    check(body, base="https://example.com/a.m3u8?a=1")


@given(TEXTS)
def test_dropping_variants_only_removes_lines(text):
    for limits in (VariantLimits(max_height=1, max_bandwidth=1), NO_LIMITS):
        left = scan(drop_variants(text, limits)[0])
        before = iter(line.text for line in scan(text))
        assert all(line.text in before for line in left)  # in the same order


EVERY_URI = """#EXTM3U
#EXT-X-SESSION-DATA:DATA-ID="a",URI="U0"
#EXT-X-SESSION-KEY:METHOD=AES-128,URI="U1",IV=0x0
#EXT-X-CONTENT-STEERING:SERVER-URI="U2",PATHWAY-ID="a"
#EXT-X-MEDIA:TYPE=AUDIO,URI="U3",NAME="URI=\\u00e9"
#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,URI="U4"
#EXT-X-STREAM-INF:BANDWIDTH=1,PROGRESSIVE-URI="U5",NAME="a,URI=b"
# a comment, and a tag between a tag and its URI
#EXT-X-VENDOR:URI="stays"
U6
#EXT-X-KEY:METHOD=AES-128,URI="U7"
#EXT-X-MAP:BYTERANGE="1@0",URI="U8"
#EXT-X-PART:DURATION=1,URI="U9",BYTERANGE="1@0"
#EXTINF:4,URI="stays"
  U10\t
#EXT-X-PRELOAD-HINT:TYPE=PART,URI="U11"
#EXT-X-RENDITION-REPORT:URI="U12",LAST-MSN=1
#EXT-X-DATERANGE:ID="a",X-ASSET-URI="U13",X-ASSET-LIST="U14",X-OTHER-URI="stays"
#EXT-X-KEY:METHOD=AES-128, URI = U15 ,junk,URI="U16"
"""


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_every_tag_with_a_uri_is_recognized(ending):
    text = EVERY_URI.replace("\n", ending)
    found = [reference for _, found in references(text) for reference in found]
    changed = rewrite(references(text), lambda reference: f"<{reference.uri.strip()}>")

    assert [reference.uri.strip() for reference in found] == [f"U{n}" for n in range(17)]
    assert {reference.uri.strip() for reference in found if reference.role == "playlist"} == {
        "U3",
        "U4",
        "U6",
        "U12",
        "U13",
    }
    assert changed.count("stays") == 3 and "<stays>" not in changed
    assert changed.replace("<", "").replace(">", "").replace(" ", "") == text.replace(" ", "")
    assert changed.count("<") == 17


def test_unknown_tags_and_invalid_bytes_are_preserved():
    body = b'\xff\x00#EXT-X-\xc3\xa9:a="\xf0"\r\r\n#EXTINF:4,\xe9\n\xe9.ts\n'
    text = body.decode(errors="surrogateescape")

    assert (
        rewrite(references(text), lambda reference: reference.uri).encode(errors="surrogateescape")
        == body
    )


def test_attributes_are_parsed_up_to_a_syntax_error():
    (line,) = scan('#EXT-X-T:A="x,y",B=1, C = "z" ,,D="open')

    assert [(attribute.name, attribute.value, attribute.is_clean) for attribute in line.attributes] == [
        ("A", "x,y", True), ("B", "1", True), ("C", "z", True), ("D", "open", False),
    ]  # fmt: skip


class TestLimits:
    """Variants beyond the viewer's limits are dropped, and nothing else."""

    TEXT = (
        "#EXTM3U\r\n"
        '#EXT-X-MEDIA:TYPE=VIDEO,GROUP-ID="big",NAME="a",URI="angle.m3u8"\n'
        '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="big",NAME="a",URI="audio.m3u8"\n'
        '#EXT-X-STREAM-INF:BANDWIDTH=800,RESOLUTION=1280x720,VIDEO="big"\n# between\nbig.m3u8\n'
        "#EXT-X-STREAM-INF:BANDWIDTH=400,RESOLUTION=640x360\nmid.m3u8\n"
        "#EXT-X-STREAM-INF:BANDWIDTH=100\nunknown.m3u8\n"
        '#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=90,RESOLUTION=1280x720,URI="frames.m3u8"\n'
    )

    def names(self, **limits: int) -> list[str]:
        text, count = drop_variants(self.TEXT, VariantLimits(**limits))
        names = [reference.uri for _, found in references(text) for reference in found]
        assert count == sum(name in {"big.m3u8", "mid.m3u8", "unknown.m3u8"} for name in names)
        return names

    def test_a_height_limit_drops_variants_without_resolution(self):
        assert self.names(max_height=360) == ["audio.m3u8", "mid.m3u8"]

    def test_a_bandwidth_limit_drops_larger_variants(self):
        assert self.names(max_bandwidth=400) == [
            "audio.m3u8",
            "mid.m3u8",
            "unknown.m3u8",
            "frames.m3u8",
        ]

    def test_height_and_bandwidth_limits_apply_together(self):
        assert self.names(max_bandwidth=399, max_height=360) == ["audio.m3u8"]

    def test_a_playlist_within_the_limits_stays_unchanged(self):
        assert drop_variants(self.TEXT, VariantLimits(max_bandwidth=10**9)) == (self.TEXT, 3)

    @pytest.mark.parametrize(
        "attributes",
        [
            "BANDWIDTH=900,BANDWIDTH=1,RESOLUTION=640x360", "BANDWIDTH=1,RESOLUTION=1280x720,RESOLUTION=1x1",
            f"BANDWIDTH={'0' * 20}999,RESOLUTION=1x1", "RESOLUTION=1x1", "BANDWIDTH=1", 'BANDWIDTH=1,RESOLUTION="1x1',
        ],
    )  # fmt: skip
    def test_duplicate_or_missing_attributes_do_not_evade_the_limits(self, attributes):
        text = f"#EXTM3U\n#EXT-X-STREAM-INF:{attributes}\nbig.m3u8\n"
        limited, count = drop_variants(text, VariantLimits(max_height=360, max_bandwidth=400))

        assert count == ('RESOLUTION="1x1' in attributes) and ("big" in limited) == bool(count)

    def test_stray_uris_and_rendition_reports_are_dropped_too(self):
        text = (
            "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nsmall.m3u8\nstray.m3u8\n"
            '#EXT-X-RENDITION-REPORT:URI="../1080/media.m3u8",LAST-MSN=1\n'
        )

        assert drop_variants(text, VariantLimits(max_bandwidth=1)) == (
            "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nsmall.m3u8\n", 1,
        )  # fmt: skip

    def test_segments_of_a_media_playlist_are_kept(self):
        text = "#EXTM3U\n#EXTINF:4,\n1.ts\n#EXTINF:4,\n2.ts\n"

        assert drop_variants(text, VariantLimits(max_height=1)) == (text, 0)


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
def test_hostile_playlists_are_checked_quickly(text):
    """Each of these playlists used to take minutes or more; now about a second."""
    check(f"#EXTM3U\n{text}".encode(), base="https://a/b.m3u8?" + "c=d&" * 2000)
    drop_variants(text, VariantLimits(max_height=1))


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
