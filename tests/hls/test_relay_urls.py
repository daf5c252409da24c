"""Relay URLs: constant, exact, opaque and small."""

import gc
import gzip
from urllib.parse import urljoin

import pytest
from hls.relayed import (
    BASE,
    HEAD,
    HOSTS,
    KEY,
    KEYS,
    ROOT,
    SESSION,
    build_place,
    catch_reason,
    compile_text,
    join_chunks,
    list_paths,
    list_urls,
    open_url,
    rewrite,
)
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.seal import SealKey, SealKeys, Session
from proxy.domain.variant_limits import VariantLimits
from proxy.hls.child_names import (
    divide_into_blocks,
    find_blocks,
    find_pattern,
    find_sequences,
)
from proxy.hls.compile_template import compile_template
from proxy.hls.playlist_writer import run_to_end, write_playlist
from proxy.hls.relay_urls import (
    PLAYLIST_NAME,
    get_file_name,
    open_bytes,
    open_playlist,
    seal_file,
    seal_playlist,
)
from proxy.hls.template_runs import MAX_RUN_LENGTH, TemplateRuns

LIMITS = VariantLimits(max_height=360)
SEC = "sec2(Q29uZmlkZW50aWFsIHNpZ25hdHVyZQ)"
PARENT = f"https://cdn.example/{SEC}/"
DEEP = f"{PARENT}video/612/345/x8abcd_mp4_h264_aac_hd.m3u8"
KINDS = ["vod", "live", "limited"]


SEGMENTS = "#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n1.ts\n#EXT-X-GAP\n#EXTINF:4,\n../2.ts?x=1\n"


def build_text(kind: str, numbers: range, uri: str) -> str:
    tag = "PLAYLIST-TYPE:VOD" if kind == "vod" else f"MEDIA-SEQUENCE:{numbers[0]}"
    uris = (uri.replace("{}", str(number)) for number in numbers)
    return f"{HEAD}#EXT-X-{tag}\n" + "".join(f"#EXTINF:10.000,\n{uri}\n" for uri in uris)


def relay(kind: str, numbers: range, uri: str = "seg-{}.ts", base: str = BASE) -> str:
    limits = {"limits": LIMITS} if kind == "limited" else {}
    return rewrite(build_text(kind, numbers, uri), base=base, **limits)


FRAG = "../../../frag({})/video/612/345/x8abcd_mp4_h264_aac_hd.ts"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "uri",
    [
        "seg-{}.ts",
        "a/b-{}/c{}.ts",
        FRAG,
        PARENT + "frag({})/a.ts",
        "/x/{}.ts",
        "s.ts?n={}",
        "x y{}.ts",
    ],
)
def test_each_relay_url_stands_for_its_child(kind, uri):
    text = relay(kind, range(8, 16), uri, DEEP)

    assert list_urls(text, build_place(DEEP)) == [
        urljoin(DEEP, uri.replace("{}", str(n))).replace(" ", "%20") for n in range(8, 16)
    ]
    assert {open_url(path).session for path in list_paths(text, build_place(DEEP))} == {SESSION}
    assert "/relay/" not in text


@pytest.mark.parametrize("kind", ["live", "limited"])
@pytest.mark.parametrize("uri", ["seg-{}.ts", FRAG, PARENT + "frag({})/a.ts", "s.ts?n={}"])
def test_a_child_keeps_its_relay_url_on_every_reload(kind, uri):
    place = build_place(DEEP)
    first = list_paths(relay(kind, range(95, 101), uri, DEEP), place)
    second = list_paths(relay(kind, range(96, 102), uri, DEEP), place)
    alone = list_paths(relay(kind, range(96, 97), uri, DEEP), place)

    assert first[1:] == second[:-1] and alone == second[:1]


def test_a_live_playlist_that_ends_as_a_vod_keeps_its_relay_urls():
    live = build_text("live", range(9), "seg-{}.ts")
    ended = build_text("vod", range(9), "seg-{}.ts")
    place = build_place()

    def render(text: str, *, was_changing: bool) -> list[str]:
        return list_paths(join_chunks(compile_text(text, was_changing=was_changing).render(place)))

    assert render(live, was_changing=False) == render(ended, was_changing=True)
    assert render(live, was_changing=False) != render(ended, was_changing=False)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("frag(15)", "frag(115)"), ("frag(15)", "frag(015)"), ("frag(15)", "frag()"), ("_hd.ts", "_uhd.ts"),
        ("_hd.ts", "_hd.ts/more"), ("/video/", "/video/../video/"), ("/video/", "/../video/"), ("/video/", "//video/"),
        ("/video/", "/./video/"), ("/video/", "/%2e%2e/"), ("/video/", "/%2f/"), ("/video/", "/video%00/"), ("/video/", "\\"),
        ("_hd.ts", "_hd.ts?x=1"), ("_hd.ts", "_hd.ts;x"), ("_hd.ts", ""), ("/relay/", "/relay/A"), ("/relay/", "/RELAY/"),
        ("x8abcd_mp4", "x8abce_mp4"), ("612", "713"), ("/~", "/~A"), ("/~", "/"),
    ],
)  # fmt: skip
def test_a_changed_relay_url_is_refused(kind, old, new):
    path = list_paths(relay(kind, range(11, 19), FRAG, DEEP), build_place(DEEP))[4]
    assert old in path

    assert catch_reason(lambda: open_bytes(path.replace(old, new, 1), KEYS)) == "seal-invalid"


def test_a_vod_and_a_limited_session_open_exactly_the_names_in_the_playlist():
    for kind in ("vod", "limited"):
        path = list_paths(relay(kind, range(11, 19)))[0]
        for other in ("seg-10.ts", "seg-19.ts", "seg-011.ts", "seg-1.ts", "seg-.ts"):
            changed = path.replace("seg-11.ts", other)
            assert catch_reason(lambda changed=changed: open_bytes(changed, KEYS)) == "seal-invalid"


def test_a_live_session_opens_a_block_of_names():
    """A player that is late may still ask for a segment that has left the playlist."""
    path = list_paths(relay("live", range(1311, 1319)))[0]
    for other, reason in (
        ("1300", "opened"),
        ("1399", "opened"),
        ("1400", "seal-invalid"),
        ("311", "seal-invalid"),
    ):
        changed = path.replace("1311", other)
        assert catch_reason(lambda changed=changed: open_bytes(changed, KEYS)) == reason


@pytest.mark.parametrize("kind", KINDS)
def test_keys_and_maps_are_always_exact(kind):
    text = f'{HEAD}#EXT-X-KEY:METHOD=AES-128,URI="key-11.bin"\n#EXTINF:4,\nseg-11.ts\n'
    path = list_paths(rewrite(text))[0]

    assert (
        catch_reason(lambda: open_bytes(path.replace("11.bin", "12.bin"), KEYS)) == "seal-invalid"
    )


def test_a_proof_is_refused_in_another_place():
    path, other = (
        list_paths(rewrite(build_text("live", range(3), "seg-{}.ts"), place=place), place)[0]
        for place in (build_place(), build_place(session=Session(
            video="x8abcd", network=SESSION.network, started_at=1, jti=None, subject=None, issued_at=1
        )))
    )  # fmt: skip
    swapped = f"{other.rpartition('/')[0].rpartition('/')[0]}/{path.split('/')[3]}/seg-0.ts"
    playlist = f"/relay/{build_place().seal}/playlist.m3u8"

    assert other != path and catch_reason(lambda: open_bytes(swapped, KEYS)) == "seal-invalid"
    for changed in (
        playlist + "?a=1",
        playlist.replace("playlist.m3u8", "list.json"),
        playlist.replace("playlist", "/playlist"),
        path,
    ):
        assert catch_reason(lambda changed=changed: open_playlist(changed, KEYS)) == "seal-invalid"
    assert catch_reason(lambda: open_bytes(playlist, KEYS)) == "seal-invalid"
    assert (
        catch_reason(lambda: open_bytes(playlist.replace("playlist.m3u8", "file/m.m3u8"), KEYS))
        == "seal-invalid"
    )


def test_the_kind_of_a_seal_decides_the_name_of_its_file():
    for kind, name in (
        ("playlist", "playlist.m3u8"),
        ("asset-list", "list.json"),
        ("steering", "list.json"),
    ):
        path = seal_playlist(KEY, SESSION, BASE, {}, kind)
        assert path.endswith(f"/{name}")
        assert (open_playlist(path, KEYS).kind, open_playlist(path, KEYS).url) == (kind, BASE)
    path = seal_file(KEY, SESSION, "https://cdn.example/a/x.mp4?sec=1")
    assert path.endswith("/file/x.mp4")
    assert open_bytes(path, KEYS).url == "https://cdn.example/a/x.mp4?sec=1"
    assert catch_reason(lambda: open_bytes(path + "4", KEYS)) == "seal-invalid"
    hidden = ("", "a%20b", "..", "x" * 65, "a%20b.ts?x.y", "a%20b.m4s", "%C3%A9.TS", "a%20b.%C3%A9")
    assert [get_file_name(f"https://a.example/{end}") for end in hidden] == [
        *["file"] * 4, "file.ts", "file.m4s", "file.TS", "file",
    ]  # fmt: skip


@given(st.text(max_size=200).filter(lambda text: text != PLAYLIST_NAME))
def test_no_path_raises_anything_but_seal_invalid(text):
    seal = build_place().seal
    for path in (
        text,
        f"/relay/{text}",
        f"/relay/{text}/playlist.m3u8",
        f"/relay/{seal}/{text}",
        f"/relay/{seal}/~{text}/x",
    ):
        assert catch_reason(lambda path=path: open_bytes(path, KEYS)) == "seal-invalid"
        assert catch_reason(lambda path=path: open_playlist(path, KEYS)) == "seal-invalid"


def test_unknown_hidden_content_is_refused():
    seal = build_place().seal
    for content in (1, ["a"], ["a", "b", "c"], None):
        path = f"/relay/{seal}/~{KEY.hide(seal, content)}/x.ts"
        assert catch_reason(lambda path=path: open_bytes(path, KEYS)) == "seal-invalid"


def test_percent_encoded_characters_are_accepted():
    """Some clients encode parentheses and commas, and nginx forwards the raw path."""
    path = list_paths(relay("live", range(1), "a(b),c~d.ts"))[0]
    encoded = path.replace("(", "%28").replace(")", "%29").replace(",", "%2c").replace("~d", "%7Ed")

    assert open_bytes(encoded, KEYS).url == f"{ROOT}a(b),c~d.ts"


def test_children_are_sealed_with_the_key_that_opened_their_parent():
    """A new key does not break running sessions, and removing a key ends them."""
    old = SealKey(b"o" * 32)
    text, place = build_text("vod", range(9), "seg-{}.ts"), build_place(key=old)
    opened = open_playlist(seal_playlist(old, SESSION, BASE, {}, "playlist"), KEYS)
    again = build_place(key=opened.key, session=opened.session)

    assert rewrite(text, place=place) == rewrite(text, place=again)
    assert catch_reason(lambda: open_bytes(list_paths(rewrite(text, place=place), place)[0], SealKeys([b"n" * 32]))) == "seal-invalid"  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_relay_urls_reveal_no_host_signature_or_query(kind):
    text = (
        f'#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="https://keys.example/k.bin?sec={SEC}"\n'
        f'#EXT-X-MAP:URI="https://other.example/{SEC}/init.mp4"\n'
        f"#EXTINF:1,\nseg.ts?sec={SEC}\n#EXTINF:1,\nhttps://a.example/0123456789abcdef0123456789abcdef/1.ts\n"
        f"#EXTINF:1,\nhttps://b.example/{SEC}/frag(1)/2.ts\n#EXTINF:1,\nhttps://b.example/{SEC}x/3.ts\n#EXTINF:1,\nhttps://h.example\n"
        f"#EXTINF:1,\nhttps://b.example/a/b/4.ts\n#EXTINF:1,\n../{SEC}/5.ts\n#EXTINF:1,\n{SEC}/é6.ts\n#EXTINF:1,\n{'n' * 65}.ts\n"
    )
    limits = {"limits": LIMITS} if kind == "limited" else {}
    changed = rewrite(
        text.replace("#EXTM3U\n", HEAD if kind == "live" else HEAD + "#EXT-X-PLAYLIST-TYPE:VOD\n"),
        **limits,
    )

    assert not any(
        secret in changed
        for secret in ("sec=", "sec2(", SEC[:9], "0123456789abcdef", "example", "https", "/a/b")
    )
    assert [path.rpartition("/")[2] for path in list_paths(changed)] == [
        "k.bin", "init.mp4", "seg.ts", "1.ts", "2.ts", "3.ts", "file", "4.ts", "5.ts", "file.ts", "file.ts",
    ]  # fmt: skip
    assert list_urls(changed)[4] == f"https://b.example/{SEC}/frag(1)/2.ts"
    assert (
        list_urls(changed)[-3] == f"https://cdn.example/sec2(0123456789abcdef0123)/video/{SEC}/5.ts"
    )


def test_the_first_playlist_and_a_redirected_playlist_contain_whole_paths_and_urls():
    text = '#EXTM3U\n#EXT-X-SESSION-KEY:METHOD=AES-128,URI="k.bin"\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8\n'
    first = build_place()._replace(is_at_relay_url=False)
    relayed = rewrite(text, place=first)
    assert relayed.count("/relay/") == 2 and list_urls(relayed) == [f"{ROOT}k.bin", f"{ROOT}v.m3u8"]

    moved = build_place(url="https://b.example/new/m.m3u8")
    media = f"{HEAD}#EXTINF:1,\n1.ts\n#EXTINF:1,\nx y.ts\n"
    assert list_urls(rewrite(media, place=moved)) == [
        "https://b.example/new/1.ts",
        "https://b.example/new/x%20y.ts",
    ]


def test_a_rendition_report_names_the_path_of_the_variant():
    """hls.js matches them by URL. Both contain the variables of the Multivariant Playlist."""
    variables = {"a": "1"}
    place = build_place(DEEP, variables=variables)
    multi = (
        '#EXTM3U\n#EXT-X-DEFINE:NAME="a",VALUE="1"\n#EXT-X-STREAM-INF:BANDWIDTH=1\nother/v.m3u8\n'
    )
    media = (
        f'{HEAD}#EXTINF:1,\n1.ts\n#EXT-X-RENDITION-REPORT:URI="../345/other/v.m3u8",LAST-MSN=1\n'
    )

    (variant,) = list_paths(rewrite(multi, base=DEEP, place=place), place)
    assert list_paths(rewrite(media, base=DEEP, place=place), place)[-1] == variant


def compress(text: str) -> int:
    return len(gzip.compress(text.encode()))


@pytest.mark.parametrize(
    ("kind", "uri", "ratio"),
    [
        ("vod", FRAG, 2), ("vod", "seg-{}.ts", 2), ("vod", "s={},x~{}@2:1!.ts", 2), ("vod", "seg-{}.ts?sec=abcdef", 2),
        ("vod", PARENT + "frag({})/a.ts", 2), ("live", "seg-{}.ts", 2.5), ("live", FRAG, 2.5), ("live", "t-17000000{}000.m4s", 2.5),
        ("live", "{}/{}.ts?sec=abc", 2.5),
    ],
)  # fmt: skip
@pytest.mark.parametrize("count", [30, 1800])
def test_names_that_count_compress_well(kind, uri, ratio, count):
    numbers = range(1000, 1000 + count)
    relayed = relay(kind, numbers, uri, DEEP)
    own = len(gzip.compress(build_place(DEEP).seal.encode()))

    assert compress(relayed) - own <= ratio * compress(build_text(kind, numbers, uri))


class TestNames:
    """Names with consecutive numbers share a proof; other names do not."""

    def runs(self, *names: str) -> list[list[str]]:
        return [list(run) for run, _ in find_sequences(names)]

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
        assert self.runs("f(1)/s7", "f(2)/s8", "f(3)/s9") == [["f(1)/s7", "f(2)/s8", "f(3)/s9"]]

    def test_names_without_matching_numbers_form_no_run(self):
        assert self.runs("a", "b", "c") == [["a"], ["b"], ["c"]]
        assert self.runs("1", "01") == [["1"], ["01"]]
        assert self.runs("a1b", "a") == [["a1b"], ["a"]]
        assert self.runs("a2", "a1") == [["a2"], ["a1"]]
        assert self.runs() == []

    def test_a_run_has_a_limited_length(self):
        lengths = [len(run) for run, _ in find_sequences([f"s{n}.ts" for n in range(12_000)])]
        assert sum(lengths) == 12_000 and max(lengths) < 6100

    @pytest.mark.parametrize(
        "parameters",
        ["", "9", "9.1-0-1", "9.1-0-0-0", "9.9-0-1-0", "9.0-0-1-0", "x.1-0-1-0", "3.1-0-1-0"],
    )
    def test_other_parameters_describe_no_run_with_the_name(self, parameters):
        assert find_pattern("s5.ts", parameters) is None
        assert find_pattern("s5.ts", "9.1-0-1-0") == "s*.ts"

    @pytest.mark.parametrize(
        ("name", "block"),
        [
            ("a.ts", "a.ts"), ("a1.ts", "a**.ts"), ("a12.ts", "a**.ts"), ("a123.ts", "a1**.ts"), ("a12345.ts", "a123**.ts"),
            ("a123456.ts", "a123***.ts"), ("a1234567.ts", "a1234***.ts"), ("1700000000123/a.mp4", "1700000******/a.mp**"),
        ],
    )  # fmt: skip
    def test_a_block_hides_the_last_digits(self, name, block):
        assert find_blocks([name, "b"]) == [block, "b"]

    @given(
        st.integers(0, 10**7) | st.integers(10**17, 10**21),
        st.integers(1, 2000),
        st.integers(1, 400),
        st.sampled_from([1, 4, 9]),
    )
    def test_the_block_of_a_name_does_not_depend_on_other_names(self, start, step, count, width):
        numbers = range(start, start + count * step, step)
        names = [f"a{number:0{width}d}_{number}.ts" for number in numbers]
        names += [f"b{number:0{width}d}.ts" for number in numbers]
        divided = [(name, block) for run, block in divide_into_blocks(names) for name in run]

        assert divided == [(name, find_blocks([name])[0]) for name in names]

    @given(st.lists(st.from_regex(r"\A[a-c0-9]{1,4}\Z"), unique=True, max_size=20), st.data())
    def test_a_vod_opens_its_names_and_no_others(self, names, data):
        text = "#EXTM3U\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-TARGETDURATION:1\n" + "".join(
            f"#EXTINF:1,\n{name}.ts\n" for name in names
        )
        paths = list_paths(rewrite(text))
        assert list_urls(rewrite(text)) == [f"{ROOT}{name}.ts" for name in names]

        if paths:
            path = data.draw(st.sampled_from(paths))
            other = data.draw(st.from_regex(r"\A[a-c0-9]{1,4}\Z"))
            changed = f"{path.rpartition('/')[0]}/{other}.ts"
            expected = "opened" if changed in paths else "seal-invalid"
            assert catch_reason(lambda: open_bytes(changed, KEYS)) == expected


def test_a_template_contains_nothing_of_a_session():
    template = compile_text(build_text("vod", range(100), "seg-{}.ts"))
    other = build_place("https://other.example/x/y.m3u8?sig=OTHER")
    texts = [join_chunks(template.render(place)) for place in (build_place(), other)]

    assert texts[0] != texts[1]
    assert list_urls(texts[1], other)[0] == "https://other.example/x/seg-0.ts"
    assert not any(
        word in repr(template) for word in ("SECRET", "sec2(", "cdn", "x8abcd", "viewer")
    )
    assert 0 < template.size < 20_000


@pytest.mark.parametrize("line", ["{n}.ts", "{n}.ts?", '#EXT-X-MAP:URI="{n}"\nm.ts'])
def test_the_number_of_children_is_limited(line, monkeypatch):
    """Plain segments, other segments, and other children count."""
    monkeypatch.setattr("proxy.hls.children.MAX_CHILDREN", 1000)
    lines = [f"#EXTINF:1,\n{line.replace('{n}', str(n))}\n" for n in range(1001)]
    whole = "".join(lines[:500] if "MAP" in line else lines[:1000])

    assert list_urls(rewrite(HEAD + whole))
    assert catch_reason(lambda: rewrite(HEAD + whole + lines[1000])) == "playlist-invalid"


def test_the_size_of_a_relayed_playlist_is_limited():
    """The hidden folder is part of each relay URL."""
    base = f"https://cdn.example/{'a' * 3000}/m.m3u8"
    text = f"{HEAD}" + "".join(
        f"#EXTINF:1,\nhttps://b.example/{'b' * 3000}/{n}.ts\n" for n in range(9000)
    )

    assert catch_reason(lambda: rewrite(text, base=base)) == "playlist-invalid"


def test_long_playlists_are_rewritten_in_slices():
    for kind in KINDS:
        text = build_text(kind, range(5000), "seg-{}.ts")
        slices = write_playlist(text.encode(), base=BASE, hosts=HOSTS)
        count, document = count_slices(slices)
        compiled, template = count_slices(
            compile_template(document, BASE, has_limits=kind == "limited")
        )
        rendered, _ = count_slices(template.render(build_place()))

        assert count >= 8 and compiled >= 20
        assert rendered >= (20 if kind == "limited" else 1)


@pytest.mark.parametrize("text", ["#EXT-X-STREAM-INF:BANDWIDTH=1\na.m3u8\n", SEGMENTS])
def test_a_written_playlist_is_freed_without_the_garbage_collector(text):
    gc.collect()
    gc.disable()
    try:
        rewrite(f"#EXTM3U\n{text}")
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_long_multivariant_playlists_are_rewritten_in_slices():
    text = "#EXTM3U\n" + "".join(f"#EXT-X-STREAM-INF:BANDWIDTH=1\n{n}.m3u8\n" for n in range(400))
    count, document = count_slices(write_playlist(text.encode(), base=BASE, hosts=HOSTS))

    assert count >= 30 and document.variant_count == 400


def count_slices(slices) -> tuple[int, object]:
    count = 0
    while True:
        try:
            next(slices)
        except StopIteration as stop:
            return count, stop.value
        count += 1


def test_text_without_children_is_rendered_in_slices():
    dates = "".join(
        f'#EXT-X-DATERANGE:ID="{n}",START-DATE="2026-11-28T00:00:00Z",X-A="b"\n'
        for n in range(20_000)
    )
    template = compile_text(f"{HEAD}{dates}{SEGMENTS}")
    rendered, chunks = count_slices(template.render(build_place()))

    assert max(len(run.text) for run in template.runs) < 100_000
    runs = TemplateRuns()
    runs.add_text("#" * (MAX_RUN_LENGTH + 1))
    runs.flush()
    assert len(runs.runs) == 1, "an empty run was added"
    assert rendered >= 9 and b"".join(chunks).count(b"DATERANGE") == 20_000


def test_a_slice_is_short_even_if_each_mark_stands_for_a_long_text():
    """A folder of 3,000 characters is filled in for each segment."""
    base = f"https://cdn.example/{'x' * 3000}/a/m.m3u8"
    names = "".join(f"#EXTINF:4,\n../{number}.ts\n" for number in range(5000))
    template = compile_text(f"{HEAD}#EXT-X-PLAYLIST-TYPE:VOD\n{names}", base=base)
    chunks = run_to_end(template.render(build_place(base)))

    assert len(list_urls(b"".join(chunks).decode(), build_place(base))) == 5000
    assert max(map(len, chunks)) < 4 * 1024 * 1024
