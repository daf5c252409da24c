"""Tests of seals: deterministic, unforgeable, opaque, bound to a session, and small."""

import gzip
import os
from base64 import urlsafe_b64encode
from ipaddress import ip_address, ip_network
from urllib.parse import urljoin

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.client_ip import format_viewer_network, get_viewer_network
from proxy.domain.reasons import Reason, Refusal
from proxy.domain.seal import PURPOSE, SealKeys, Session
from proxy.domain.sealed_paths import Names, Sealer, file_name, open_bytes, open_playlist, sequences
from proxy.domain.variant_limits import VariantLimits
from proxy.hls.seal_uris import may_change, seal_uris

OLD, NEW = b"o" * 32, b"n" * 32
KEYS = SealKeys([NEW, OLD])
SESSION = Session(
    video="x8abcd", network=ip_network("203.0.113.0/24"), started_at=1_800_000_000,
    jti="1b4e28ba-2fa1-11d2-883f-0016d3cca427", subject="viewer-7", issued_at=1_799_999_990,
    limits=VariantLimits(max_height=360),
)  # fmt: skip
SEC = urlsafe_b64encode(os.urandom(90)).decode()
ROOT_URL = f"https://vod3.cf.dmcdn.net/sec2({SEC})/"
BASE = f"{ROOT_URL}video/612/345/x8abcd_mp4_h264_aac_hd.m3u8"
LIVE = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:{first}\n{segments}"
VOD = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXT-X-PLAYLIST-TYPE:VOD\n{segments}#EXT-X-ENDLIST\n"


def build_segments(numbers: range) -> str:
    return "".join(
        f"#EXTINF:10.000,\n../../../frag({n})/video/612/345/x8abcd_mp4_h264_aac_hd.ts\n"
        for n in numbers
    )


def seal_text(
    text: str, *, base: str = BASE, fixed: bool = False, session: Session = SESSION, **options
) -> str:
    return seal_uris(
        text, base=base, sealer=Sealer(KEYS.newest, session), imported=options.get("imported", {}),
        allow=options.get("allow", lambda url: url), is_fixed=fixed,
    )  # fmt: skip


def find_sealed_uris(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("/relay/")]


def catch_reason(call) -> str:
    try:
        call()
    except Refusal as refusal:
        return str(refusal.reason)
    return "opened"


def test_the_same_child_has_the_same_uri_on_every_reload():
    first = find_sealed_uris(seal_text(LIVE.format(first=5, segments=build_segments(range(5, 11)))))
    second = find_sealed_uris(
        seal_text(LIVE.format(first=6, segments=build_segments(range(6, 12))))
    )
    alone = find_sealed_uris(seal_text(LIVE.format(first=6, segments=build_segments(range(6, 7)))))

    assert first[1:] == second[:-1]
    assert alone == second[:1]
    assert SealKeys([NEW]).newest.seal("whole", SESSION, "u") == KEYS.newest.seal(
        "whole", SESSION, "u"
    )


@pytest.mark.parametrize("fixed", [True, False])
def test_each_relay_uri_opens_to_its_child(fixed):
    text = (VOD if fixed else LIVE).format(first=1, segments=build_segments(range(1, 9)))
    paths = find_sealed_uris(seal_text(text, fixed=fixed))

    assert [open_bytes(path, KEYS).url for path in paths] == [
        urljoin(BASE, f"../../../frag({n})/video/612/345/x8abcd_mp4_h264_aac_hd.ts")
        for n in range(1, 9)
    ]
    assert {open_bytes(path, KEYS).session for path in paths} == {SESSION}


@pytest.mark.parametrize("fixed", [True, False])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("frag(5)", "frag(9)"), ("frag(5)", "frag(0)"), ("frag(5)", "frag(05)"), ("frag(5)", "frag(50)"),
        ("_hd.ts", "_uhd.ts"), ("_hd.ts", "_hd.ts/more"), ("/video/", "/video/../video/"),
        ("/video/", "/../video/"), ("/video/", "//video/"), ("/video/", "/./video/"), ("/video/", "/%2e%2e/"),
        ("/video/", "/%2f/"), ("/video/", "/video%00/"), ("/video/", "\\"), ("_hd.ts", "_hd.ts?x=1"),
        ("_hd.ts", "_hd.ts;x"), ("_hd.ts", ""), ("frag(5)/video/612/345/x8abcd_mp4_h264_aac_hd.ts", "x"), ("/relay/bytes/", "/relay/bytes/A"), ("/relay/bytes/", "/relay/playlist/"),
        ("/relay/bytes/", "/RELAY/bytes/"), ("x8abcd_mp4", "x8abce_mp4"), ("612", "613"),
    ],
)  # fmt: skip
def test_a_changed_relay_path_is_refused(fixed, old, new):
    text = (VOD if fixed else LIVE).format(first=1, segments=build_segments(range(1, 9)))
    path = find_sealed_uris(seal_text(text, fixed=fixed))[4]
    assert old in path

    assert catch_reason(lambda: open_bytes(path.replace(old, new, 1), KEYS)) == "seal-invalid"


def test_a_seal_or_mac_is_refused_in_another_place():
    """The MAC of one seal is invalid for another seal, and a playlist's seal is invalid as bytes."""
    relay_uris = find_sealed_uris(
        seal_text(LIVE.format(first=1, segments=build_segments(range(1, 3))))
    )
    other = Session(
        video="x8abcd", network=SESSION.network, started_at=1, jti=None, subject=None, issued_at=1
    )
    other_uris = find_sealed_uris(
        seal_text(LIVE.format(first=1, segments=build_segments(range(1, 3))), session=other)
    )
    seal, proof = other_uris[0].split("/")[3], relay_uris[0].split("/")[4]
    playlist = Sealer(KEYS.newest, SESSION).playlist_path(BASE, {})

    assert (
        catch_reason(
            lambda: open_bytes(other_uris[0].replace(other_uris[0].split("/")[4], proof), KEYS)
        )
        == "seal-invalid"
    )
    assert (
        catch_reason(lambda: open_playlist(f"/relay/playlist/{seal}.m3u8", KEYS)) == "seal-invalid"
    )
    as_bytes = playlist.replace("/playlist/", "/bytes/").replace(".m3u8", "/x.ts")
    assert catch_reason(lambda: open_bytes(as_bytes, KEYS)) == "seal-invalid"
    assert catch_reason(lambda: open_playlist(playlist + "?a=1", KEYS)) == "seal-invalid"


def test_a_change_of_any_character_makes_a_seal_invalid():
    path = Sealer(KEYS.newest, SESSION).playlist_path(BASE, {})
    start = len("/relay/playlist/")
    assert open_playlist(path, KEYS).url == BASE

    for at in range(start, len(path) - len(".m3u8")):
        for char in "Ab-":
            if path[at] != char:
                changed = path[:at] + char + path[at + 1 :]
                assert (
                    catch_reason(lambda changed=changed: open_playlist(changed, KEYS))
                    == "seal-invalid"
                )
    for added in ("A", "=", "==", "A" * 7000):
        changed = path.replace(".m3u8", f"{added}.m3u8")
        assert catch_reason(lambda changed=changed: open_playlist(changed, KEYS)) == "seal-invalid"


@pytest.mark.parametrize("fixed", [True, False])
def test_relay_uris_reveal_no_signature_or_query(fixed):
    text = (
        f'#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="https://keys.dmcdn.net/k.bin?sec={SEC}"\n'
        f'#EXT-X-MAP:URI="https://other.dmcdn.net/sec2({SEC})/init.mp4"\n'
        f"{build_segments(range(1, 9))}#EXTINF:1,\nseg.ts?sec={SEC}\n#EXTINF:1,\nhttps://a.dmcdn.net/0123456789abcdef0123456789abcdef/1.ts\n"
        f"#EXTINF:1,\nhttps://b.dmcdn.net/sec2({SEC})/2.ts\n#EXTINF:1,\nhttps://b.dmcdn.net/sec2({SEC}x)/3.ts\n#EXTINF:1,\nhttps://h\n"
    )
    changed = seal_text(text, fixed=fixed)

    assert (
        "sec=" not in changed
        and "sec2(" not in changed
        and SEC[:8] not in changed
        and "0123456789abcdef" not in changed
    )
    assert "dmcdn" not in changed and "https" not in changed
    names = [
        path.rpartition("/")[2]
        for path in changed.replace('"', "\n").splitlines()
        if path.startswith("/relay")
    ]
    assert names[:2] == ["k.bin", "init.mp4"]
    assert names[-5:] == ["seg.ts", "1.ts", "2.ts", "3.ts", "h"]


def test_a_seal_contains_its_session():
    path = find_sealed_uris(seal_text(LIVE.format(first=1, segments=build_segments(range(1, 2)))))[
        0
    ]
    session = open_bytes(path, KEYS).session

    assert (session.video, session.network, session.started_at) == (
        "x8abcd",
        SESSION.network,
        1_800_000_000,
    )
    assert (session.jti, session.subject, session.issued_at) == (
        SESSION.jti,
        "viewer-7",
        1_799_999_990,
    )
    assert session.limits == VariantLimits(max_height=360)


def test_children_are_sealed_with_the_key_that_opened_their_parent():
    """A new key does not break running sessions, and removing a key ends them."""
    before = SealKeys([OLD])
    path = Sealer(before.newest, SESSION).playlist_path(BASE, {})
    opened = open_playlist(path, KEYS)
    text = LIVE.format(first=1, segments=build_segments(range(1, 3)))
    then = seal_uris(
        text,
        base=BASE,
        sealer=Sealer(before.newest, SESSION),
        imported={},
        allow=str,
        is_fixed=False,
    )
    now = seal_uris(
        text,
        base=BASE,
        sealer=Sealer(opened.key, opened.session),
        imported={},
        allow=str,
        is_fixed=False,
    )

    assert then == now
    assert catch_reason(lambda: open_playlist(path, SealKeys([NEW]))) == "seal-invalid"


def test_a_sealed_vod_playlist_compresses_to_less_than_twice_the_original():
    text = VOD.format(segments=build_segments(range(1, 1801)))
    ratio = len(gzip.compress(seal_text(text, fixed=True).encode())) / len(
        gzip.compress(text.encode())
    )

    assert ratio < 2


def test_a_session_is_valid_only_in_its_network_and_time():
    def check(viewer: str, now: float) -> str:
        return catch_reason(
            lambda: SESSION.check(ip_address(viewer), now=now, max_duration=60, leeway=5)
        )

    assert check("203.0.113.255", 1_800_000_059) == "opened"
    assert check("203.0.114.0", 1_800_000_059) == "seal-network"
    assert check("2001:db8::1", 1_800_000_059) == "seal-network"
    assert check("203.0.113.255", 1_800_000_060) == "seal-expired"
    # The edge that sealed may have a clock that is ahead.
    assert check("203.0.113.255", 1_799_999_995) == "opened"
    assert check("203.0.113.255", 1_799_999_994) == "seal-invalid"


def test_a_session_is_bound_to_the_viewers_network():
    assert str(get_viewer_network(ip_address("203.0.113.77"))) == "203.0.113.0/24"
    assert str(get_viewer_network(ip_address("2001:db8:1:2:3::4"))) == "2001:db8:1:2::/64"


@given(st.ip_addresses())
def test_the_network_text_is_canonical(address):
    assert format_viewer_network(address) == str(get_viewer_network(address))


def test_without_keys_no_seal_opens():
    assert SealKeys([]).newest is None
    assert catch_reason(lambda: SealKeys([]).open("A" * 64)) == "seal-invalid"
    assert catch_reason(lambda: KEYS.open("é" * 64)) == "seal-invalid"


def test_a_seal_with_another_purpose_does_not_open():
    key = KEYS.newest
    sealed = key._aead.encrypt(msgpack.packb([0]), [PURPOSE + b"!"])  # noqa: SLF001  # the attack itself

    assert key.open(urlsafe_b64encode(sealed).rstrip(b"=").decode()) is None


@given(st.text(max_size=200))
def test_no_path_raises_anything_but_seal_invalid(text):
    assert catch_reason(lambda: open_bytes(text, KEYS)) == "seal-invalid"
    assert catch_reason(lambda: open_bytes(f"/relay/bytes/{text}", KEYS)) == "seal-invalid"
    assert catch_reason(lambda: open_playlist(text, KEYS)) == "seal-invalid"
    assert (
        catch_reason(lambda: open_playlist(f"/relay/playlist/{text}.m3u8", KEYS)) == "seal-invalid"
    )


class TestSequences:
    """Names with consecutive numbers share a seal; other names do not."""

    def runs(self, *names: str) -> list[list[str]]:
        return [run for run, _ in sequences(names)]

    def test_a_run_ends_if_the_next_name_does_not_continue_it(self):
        assert self.runs("a1", "a2", "a3", "a5", "a7", "b1") == [
            ["a1", "a2", "a3"],
            ["a5", "a7"],
            ["b1"],
        ]

    def test_runs_may_have_leading_zeros_steps_and_several_numbers(self):
        assert self.runs("08", "09", "10", "11") == [["08", "09", "10", "11"]]
        assert self.runs("8", "9", "10", "11") == [["8", "9", "10", "11"]]
        assert self.runs("t0", "t90000", "t180000") == [["t0", "t90000", "t180000"]]
        assert self.runs("f(1)/s9", "f(2)/s8", "f(3)/s7") == [["f(1)/s9", "f(2)/s8", "f(3)/s7"]]

    def test_names_without_matching_numbers_form_no_run(self):
        assert self.runs("a", "b", "c") == [["a"], ["b"], ["c"]]
        assert self.runs("1", "01") == [["1"], ["01"]]
        assert self.runs("a1b", "a") == [["a1b"], ["a"]]
        assert self.runs() == []

    @given(st.lists(st.from_regex(r"\A[a-c0-9]{1,4}\Z"), unique=True, max_size=20), st.data())
    def test_a_sealed_run_opens_its_names_and_no_others(self, names, data):
        text = "#EXTM3U\n#EXT-X-PLAYLIST-TYPE:VOD\n" + "".join(
            f"#EXTINF:1,\n{name}.ts\n" for name in names
        )
        paths = find_sealed_uris(seal_text(text, fixed=True))
        assert [open_bytes(path, KEYS).url for path in paths] == [
            urljoin(BASE, f"{name}.ts") for name in names
        ]

        if paths:
            path = data.draw(st.sampled_from(paths))
            other = data.draw(st.from_regex(r"\A[a-c0-9]{1,4}\Z"))
            changed_path = f"{path.rpartition('/')[0]}/{other}.ts"
            assert catch_reason(lambda: open_bytes(changed_path, KEYS)) == (
                "opened" if changed_path in paths else "seal-invalid"
            )

    def test_a_run_reproduces_its_names(self):
        ((_, names),) = sequences(["s001", "s002", "s003"])
        assert isinstance(names, Names) and names.name(9) == "s010"


def test_a_relay_path_ends_with_a_readable_file_name():
    whole = f"/relay/bytes/{KEYS.newest.seal('whole', SESSION, 'https://a/k.bin?x=1')}"
    assert open_bytes(f"{whole}/k.bin", KEYS).url == "https://a/k.bin?x=1"
    assert catch_reason(lambda: open_bytes(f"{whole}/other.bin", KEYS)) == "seal-invalid"
    assert file_name("https://a/b/init.mp4?x=1") == "init.mp4"
    assert (
        file_name("https://a/b/")
        == file_name("https://a/b/a%20b")
        == file_name("https://a/..")
        == "file"
    )


def test_percent_encoded_parentheses_are_accepted():
    """Some clients encode parentheses, and nginx forwards the raw path."""
    path = find_sealed_uris(seal_text(LIVE.format(first=1, segments=build_segments(range(1, 2)))))[
        0
    ]

    assert open_bytes(path.replace("(", "%28").replace(")", "%29"), KEYS).url.endswith(
        "x8abcd_mp4_h264_aac_hd.ts"
    )


class TestPlaylists:
    """How relaying changes a playlist beyond its URIs."""

    def test_a_multivariant_playlist_keeps_everything_but_its_uris(self):
        text = (
            '#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,NAME="720@60"\nhttps://vod3.cf.dmcdn.net/a.m3u8#cell=cf4\n'
            '#EXT-X-MEDIA:TYPE=SUBTITLES,URI="s.m3u8?sec=1"\n#EXT-X-RENDITION-REPORT:URI="../../a.m3u8"\n'
        )
        changed = seal_text(text, base="https://vod3.cf.dmcdn.net/x/y/b.m3u8").splitlines()

        assert changed[1] == '#EXT-X-STREAM-INF:BANDWIDTH=1,NAME="720@60"'
        assert changed[2].endswith(".m3u8#cell=cf4")
        assert (
            open_playlist(changed[2].partition("#")[0], KEYS).url
            == "https://vod3.cf.dmcdn.net/a.m3u8"
        )
        # hls.js matches a rendition report to its variant by URI
        assert changed[4].split('"')[1] == changed[2].partition("#")[0]

    def test_variables_are_substituted_and_passed_to_child_playlists(self):
        multi = '#EXTM3U\n#EXT-X-DEFINE:NAME="h",VALUE="https://h.dmcdn.net"\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{$h}/v.m3u8\n'
        opened = open_playlist(find_sealed_uris(seal_text(multi))[0], KEYS)
        assert (opened.url, opened.variables) == (
            "https://h.dmcdn.net/v.m3u8",
            {"h": "https://h.dmcdn.net"},
        )

        media = '#EXTM3U\n#EXT-X-DEFINE:IMPORT="h"\n#EXTINF:1,\n{$h}/1.ts\n'
        changed = seal_text(media, base=opened.url, imported=opened.variables)
        assert open_bytes(find_sealed_uris(changed)[0], KEYS).url == "https://h.dmcdn.net/1.ts"
        assert '#EXT-X-DEFINE:IMPORT="h"\n' in changed

    def test_upstream_query_parameters_are_substituted_but_not_revealed(self):
        """They may be the URL's signature, and the player's URL has no query with these parameters."""
        media = '#EXTM3U\n#EXT-X-DEFINE:QUERYPARAM="a"\r\n#EXT-X-DEFINE:QUERYPARAM="none"\n#EXT-X-DEFINE:QUERYPARAM="q"\n#EXTINF:1,\n{$a}.ts\n'
        changed = seal_text(media, base="https://h/m.m3u8?a=1&q=%22")

        assert (
            '#EXT-X-DEFINE:NAME="a",VALUE="-"\r\n#EXT-X-DEFINE:QUERYPARAM="none"\n#EXT-X-DEFINE:NAME="q",VALUE="-"\n'
            in changed
        )
        assert open_bytes(find_sealed_uris(changed)[0], KEYS).url == "https://h/1.ts"

    @pytest.mark.parametrize(
        "tag",
        ['#EXT-X-DEFINE:QUERYPARAM="sig"', '#EXT-X-DEFINE: QUERYPARAM = "sig"', '#EXT-X-DEFINE:X="1",QUERYPARAM="sig"'],
    )  # fmt: skip
    def test_no_form_of_the_define_tag_reveals_the_signature(self, tag):
        media = f"#EXTM3U\n{tag}\n#EXTINF:1,\n{{$sig}}/a.ts\n#EXTINF:1,\nb.ts?s={{$sig}}\n"
        changed = seal_text(media, base=f"https://h/m.m3u8?sig={SEC}&other={SEC}")
        assert SEC not in changed
        assert [SEC in open_bytes(uri, KEYS).url for uri in find_sealed_uris(changed)] == [
            True,
            True,
        ]

    def test_a_playlist_with_a_child_on_a_forbidden_host_is_refused(self):
        def allow(url: str) -> str:
            if "evil" in url:
                raise Refusal(Reason.STREAM_HOST_NOT_ALLOWED)
            return url

        assert (
            catch_reason(lambda: seal_text("#EXTM3U\n#EXTINF:1,\n//evil/1.ts\n", allow=allow))
            == "stream-host-not-allowed"
        )

    @pytest.mark.parametrize(
        "line",
        [
            "#EXTINF:4 https://evil/1.ts", "#EXTINF:x,", '#EXT-X-KEY:METHOD=AES-128 URI="https://evil/k"',
            '#EXT-X-MAP:X="a"URI="https://evil/i"', '#EXT-X-MAP:\ufeffURI="https://evil/i"', "#a\u2028https://evil/",
            "#a\0https://evil/", "##EXT-X-STREAM-INF:BANDWIDTH=1", " #EXTM3U\x85", "#a #EXT-X-MEDIA:URI=",
            '#EXT-X-MEDIA:URI="https://evil/', "#EXT-X-VENDOR:" + "a" * 4096, "#EXTINF:4,a\x0bhttps://evil/",
        ],
    )  # fmt: skip
    def test_a_line_that_players_read_differently_is_refused(self, line):
        """hls.js, ffmpeg or m3u8-parser finds a URI in each of these."""
        assert (
            catch_reason(lambda: seal_text(f"#EXTM3U\n{line}\n#EXTINF:4,\n1.ts\n"))
            == "playlist-invalid"
        )

    def test_a_uri_behind_a_lone_carriage_return_is_sealed(self):
        assert "evil" not in seal_text(
            "#EXTM3U\n# a comment\rhttps://evil/1.ts\n#EXTINF:4,a\rhttps://evil/2.ts\n"
        )

    def test_a_uri_too_long_to_seal_is_refused(self):
        assert (
            catch_reason(
                lambda: seal_text(f"#EXTM3U\n#EXTINF:4,\n1.ts?{'a' * 4000}\n", base="https://h/")
            )
            == "opened"
        )
        key = KEYS.newest
        assert catch_reason(lambda: key.seal("whole", SESSION, "a" * 5000)) == "playlist-invalid"

    def test_a_playlist_with_too_many_uris_is_refused(self):
        many = "".join(
            f'#EXT-X-RENDITION-REPORT:URI="{n}.m3u8?{"a" * 1000}"\n' for n in range(20_000)
        )

        assert catch_reason(lambda: seal_text(f"#EXTM3U\n{many}")) == "playlist-invalid"

    def test_a_variable_that_cannot_be_sealed_is_left_out(self):
        text = '#EXTM3U\n#EXT-X-DEFINE:NAME="a",VALUE="\udcff"\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8\n'

        assert open_playlist(find_sealed_uris(seal_text(text))[0], KEYS).variables == {}

    @pytest.mark.parametrize(
        ("tags", "change"),
        [
            ("#EXT-X-PLAYLIST-TYPE:VOD\n", False),
            ("#EXT-X-PLAYLIST-TYPE:VOD\r\n#EXT-X-MEDIA-SEQUENCE:5\n", False),
            ("#EXT-X-ENDLIST\n", False),
            ("#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-ENDLIST\n", False),
            ("#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-ENDLIST\n", True),
            ("#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-ENDLIST\n", True),
            ("", True),
            ("#EXTINF:1,#EXT-X-ENDLIST\n", True),
        ],
    )
    def test_tags_decide_whether_a_playlist_can_change(self, tags, change):
        assert may_change(f"#EXTM3U\n{tags}") is change


VARIABLE = f'#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-DEFINE:NAME="v",VALUE="{"x" * 2000}"\n'


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        ("#EXTINF:4,\n{$v}\n", "the variables would insert more than 2 MiB"),
        ('#EXT-X-DATERANGE:ID="a",X-ASSET-URI="{n}"\n', "the sealed URIs would exceed 16 MiB"),
    ],
)
def test_the_size_of_a_sealed_playlist_is_bounded(line, detail):
    """Variables increase the URIs that use them and the path of each child playlist."""
    text = VARIABLE + "".join(line.replace("{n}", str(n)) for n in range(8000))
    with pytest.raises(Refusal) as refused:
        seal_uris(
            text,
            base="https://a.dmcdn.net/m.m3u8",
            sealer=Sealer(KEYS.newest, SESSION),
            imported={},
            allow=lambda url: url,
            is_fixed=False,
        )
    assert refused.value.detail == detail
