"""Relayed playlists are written anew: what stays, what is repaired, and what is dropped."""

import re

import pytest
from hls.relayed import (
    BASE,
    HEAD,
    ROOT,
    build_place,
    catch_reason,
    list_urls,
    rewrite,
    write,
)

from proxy.domain.variant_limits import VariantLimits
from proxy.hls.playlist_writer import BLOCK_BYTES, is_playlist

INF = "#EXT-X-STREAM-INF:BANDWIDTH=1"
DATA_KEY = "data:application/octet-stream;base64,MDEyMzQ1Njc4OWFiY2RlZg=="


def join_blocks(document) -> str:
    """Return the text of a document, with a mark for each child."""
    texts = (
        block if isinstance(block, str) else re.sub(r"\0.*", "\0", block.text)
        for block in document.blocks
    )
    return "\n".join(texts)


def relay_line(line: str) -> str:
    """Return what the relay makes of a line before a segment; empty if it drops the line."""
    lines = rewrite(f"{HEAD}{line}\n#EXTINF:4,\nz.ts\n").splitlines()
    assert lines[:2] == HEAD.splitlines() and lines[-1].endswith("/z.ts")
    return "\n".join(text for text in lines[2:-1] if text != "#EXTINF:4,")


@pytest.mark.parametrize(
    "line",
    [
        "#EXT-X-VERSION:7", "#EXT-X-INDEPENDENT-SEGMENTS", "#EXT-X-DISCONTINUITY", "#EXT-X-BITRATE:1200",
        "#EXT-X-MEDIA-SEQUENCE:7", "#EXT-X-DISCONTINUITY-SEQUENCE:3", "#EXT-X-PLAYLIST-TYPE:EVENT",
        "#EXT-X-PROGRAM-DATE-TIME:2026-11-28T10:00:00.000+01:00", "#EXT-X-GAP", "#EXT-X-I-FRAMES-ONLY",
        "#EXT-X-START:TIME-OFFSET=-12.5,PRECISE=YES", "#EXT-X-PART-INF:PART-TARGET=0.5",
        "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.5", "#EXT-X-SKIP:SKIPPED-SEGMENTS=3",
        '#EXT-X-DATERANGE:ID="a",CLASS="com.vendor.ad",START-DATE="2026-11-28T10:00:00Z",X-COM-VENDOR="é"',
        "#EXT-X-ALLOW-CACHE:YES", "#EXT-X-KEY:METHOD=NONE",
        f'#EXT-X-KEY:METHOD=AES-128,URI="{DATA_KEY}",IV=0x00000000000000000000000000000001',
        '#EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://drm.test?assetId=1",KEYFORMAT="com.apple.streamingkeydelivery",KEYFORMATVERSIONS="1"',
        '#EXT-X-KEY:METHOD=SAMPLE-AES-CTR,URI="data:text/plain;base64,AAAA",KEYFORMAT="urn:uuid:edef8ba9-79d6-4ace-a3c8-27dcd51d21ed"',
        '#EXT-X-KEY:METHOD=SAMPLE-AES,URI="urn:x:key:1",KEYFORMAT="a"',
        # SCTE-35 and other tags of vendors
        "#EXT-OATCLS-SCTE35:/DAlAAAAAAAAAP/wFAUAAAABf+/+//4AAA==", "#EXT-X-CUE-OUT:30.000", "#EXT-X-CUE-OUT", "#EXT-X-CUE-IN",
        "#EXT-X-CUE-OUT-CONT:8.308/30", '#EXT-X-SCTE35:TYPE=0x34,CUE="/DA0AAAA//8AAA==",ID="7"',
        "#EXT-X-SPLICEPOINT-SCTE35:/DAl//AAAA==", "#EXT-X-CUE-OUT-CONT:ElapsedTime=5.9,Duration=201.4,SCTE35=/DAl//8=",
        '#EXT-X-DATERANGE:ID="1",START-DATE="2026-11-28T10:00:00Z",SCTE35-OUT=0xFC302500',
        "#EXTVLCOPT:http-user-agent=x y", "#EXT-X-TILES:RESOLUTION=320x180,LAYOUT=5x4,DURATION=6",
    ],
)  # fmt: skip
def test_a_line_in_canonical_form_stays_as_it_is(line):
    document = write(f"{HEAD}{line}\n#EXTINF:4,\nz.ts\n")

    assert relay_line(line) == line
    assert document.changes == []


@pytest.mark.parametrize(
    ("line", "relayed"),
    [
        ("  #EXT-X-DISCONTINUITY \t", "#EXT-X-DISCONTINUITY"),
        ("#EXT-X-MEDIA-SEQUENCE: 7 # seven", "#EXT-X-MEDIA-SEQUENCE:7"),
        ("#EXT-X-DISCONTINUITY:x", "#EXT-X-DISCONTINUITY"),
        ("#EXT-X-START: TIME-OFFSET = 1 , PRECISE=NO", "#EXT-X-START:TIME-OFFSET=1,PRECISE=NO"),
        ('#EXT-X-DATERANGE:ID="a",ID="b",=,1=2,x', '#EXT-X-DATERANGE:ID="a",1=2'),
        ('#EXT-X-DATERANGE:ID="a\\"b",X-A="c"', '#EXT-X-DATERANGE:ID="a",X-A="c"'),
        ('#EXT-X-DATERANGE:ID="a\u2028b\ufeff"', '#EXT-X-DATERANGE:ID="ab"'),
        ('#EXT-X-DATERANGE:ID="a,X-A=1', '#EXT-X-DATERANGE:ID="a",X-A=1'),
        ("#EXT-X-DATERANGE:ID=a b,X-A=1", "#EXT-X-DATERANGE:ID=a,X-A=1"),
        # Attributes of unknown meaning with a URL
        *(
            (f'#EXT-X-DATERANGE:ID="a",{attribute},X-B=1', '#EXT-X-DATERANGE:ID="a",X-B=1')
            for attribute in (
                'X-A="https://up.example/a"', "X-A=http://up.example", 'X-A="HTTPS:x"', 'X-A="//up.example/a"',
                'X-A="see https://up.example"', 'X-A="rtmp://up.example"', 'X-A="https%3A%2F%2Fup.example"',
                'X-A="\\\\up.example"', 'X-FOO-URI="a.ts"', 'x-uri="a"', 'X-A="/a/b.m3u8"', 'X-A="b.ts?sig=1"',
                'X-A="#EXT-X-MEDIA:URI=x"', 'X-A="a URI= b"',
            )
        ),
        ('#EXT-X-VENDOR:URI="stays"', ""), ("#EXT-X-VENDOR:https://up.example/a", ""), ("#EXT-X-VENDOR://up.example", ""), ("#EXT-X-VENDOR:up.example", ""),
        ("#EXT-X-VENDOR:/a/b.ts", ""), ('#EXT-X-VENDOR:"', ""), ("#EXT-X-VENDOR:é", ""), ("#EXT-X-VENDÔR:1", ""),
        ("#EXT-X-VENDOR:#EXTINF", ""),
        ("#EXT-X-SKIP", ""), ("#EXT-X-START:", ""), ("#EXT-X-MEDIA-SEQUENCE:", ""),
        ("# a comment", ""), ("##EXT-X-VERSION:3", ""), ("#EXT-X-VERSION:7\n#EXT-X-VERSION:3", "#EXT-X-VERSION:7"),
        ("#EXT-X-VENDOR:" + "a" * 5000, ""), ("", ""), (" \x0c ", ""), (INF, ""), ("#EXTM3U", ""),
        ('#EXT-X-DEFINE:NAME="a",VALUE="b"', ""),
        # Keys
        ('#EXT-X-KEY:METHOD=NONE,URI="https://evil.test"', "#EXT-X-KEY:METHOD=NONE"),
        ("#EXT-X-PRELOAD-HINT:TYPE=PART", ""), ("#EXT-X-SERVER-CONTROL:", ""), ("#EXT-X-RENDITION-REPORT:LAST-MSN=1", ""),
        ('#EXT-X-RENDITION-REPORT:URI="https://evil.test/",LAST-MSN=1', ""),
        ('#EXT-X-DATERANGE:ID="a",X-ASSET-URI="https://ads.test/a.m3u8"', ""),
        ('#EXT-X-DATERANGE:ID="a",X-ASSET-LIST=""', '#EXT-X-DATERANGE:ID="a"'),
        ("#EXT-X-PREFETCH:https://evil.test/1.ts", ""), ("#EXT-X-PREFETCH:https://[", ""),
    ],
)  # fmt: skip
def test_a_line_in_another_form_is_rewritten_or_dropped(line, relayed):
    assert relay_line(line) == relayed
    document = write(f"{HEAD}{line}\n#EXTINF:4,\nz.ts\n")
    is_silent = not line.strip() or line == "#EXTM3U" or "DEFINE" in line
    is_same_value = line.strip() == "#EXT-X-DISCONTINUITY" or line == "#EXT-X-DISCONTINUITY:x"
    assert bool(document.changes) != (is_silent or is_same_value)


class TestSegments:
    """A segment is repaired, or becomes a gap; it is never left out."""

    def relay(self, text: str) -> list[str]:
        lines = rewrite(HEAD + text).splitlines()[2:]
        return [line.rpartition("/")[2] if line[0] != "#" else line for line in lines]

    @pytest.mark.parametrize(
        ("extinf", "relayed"),
        [
            ("4.000,", "4.000,"), ("4", "4,"), (" 4.5 , Title: é ", "4.5,Title: é"), (".5,", "0.500000,"),
            ("-0.033,", "0.001,"), ("-1,", "0.001,"), ("6e0,", "6.000000,"), ("4.,", "4.000000,"),
            ('4,tvg-logo="https://up.example/a.png"', "4,"), ("4,//up.example", "4,"), ("4,#EXT-X-KEY", "4,"),
            ("4,a\u2028https://up.example", "4,"), ('4,say "hi"', "4,say 'hi'"), ("4 https://up.example", "4,"), ("4,by UP.example", "4,"),
            ("4," + "x" * 5000, "4,"),
        ],
    )  # fmt: skip
    def test_a_duration_is_written_as_a_number(self, extinf, relayed):
        assert self.relay(f"#EXTINF:{extinf}\n1.ts\n") == [f"#EXTINF:{relayed}", "1.ts"]

    @pytest.mark.parametrize("extinf", ["", ",", "x,", "nan,", "9e99,", "https://up.example/1.ts"])
    def test_an_unreadable_duration_makes_a_gap(self, extinf):
        assert self.relay(f"#EXTINF:{extinf}\n1.ts\n") == ["#EXTINF:6,", "#EXT-X-GAP", "1.ts"]

    def test_a_duration_without_a_segment_is_dropped(self):
        assert self.relay("#EXTINF:1,\n#EXTINF:2,\n1.ts\n#EXTINF:3,\n") == ["#EXTINF:2,", "1.ts"]

    def test_a_segment_without_a_duration_gets_the_target_duration(self):
        assert self.relay("1.ts\n#EXTINF:2,\n2.ts\n") == [
            "#EXTINF:6,",
            "1.ts",
            "#EXTINF:2,",
            "2.ts",
        ]
        assert (
            rewrite("#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:1\n1.ts\n#EXTINF:1,\n2.ts\n").count(".ts") == 1
        )

    @pytest.mark.parametrize("line", ["<!-- cached -->", "0.ts", "  <p>"])
    def test_what_follows_the_end_is_dropped(self, line):
        assert self.relay(f"#EXTINF:2,\n1.ts\n#EXT-X-ENDLIST\n{line}\n") == [
            "#EXTINF:2,", "1.ts", "#EXT-X-ENDLIST",
        ]  # fmt: skip

    def test_segments_may_follow_the_end_tag(self):
        """EXT-X-ENDLIST may be anywhere in a playlist (4.4.3.4)."""
        assert self.relay("#EXT-X-ENDLIST\n#EXTINF:2,\n1.ts\n")[-1] == "1.ts"

    @pytest.mark.parametrize(
        ("byterange", "relayed"),
        [
            ("10@0", "10@0"),
            (" 10 ", "10"),
            ("10@", None),
            ("-1@0", None),
            ("10@0x", None),
            ("", None),
        ],
    )
    def test_an_unreadable_byterange_makes_a_gap(self, byterange, relayed):
        tag = "#EXT-X-GAP" if relayed is None else f"#EXT-X-BYTERANGE:{relayed}"
        assert self.relay(f"#EXT-X-BYTERANGE:{byterange}\n#EXTINF:2,\n1.ts\n#EXTINF:3,\n2.ts\n") == [
            "#EXTINF:2,", tag, "1.ts", "#EXTINF:3,", "2.ts",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        "key",
        [
            "METHOD=AES-128", "METHOD=AES-128,URI=", 'METHOD=AES-128,URI=""', 'URI="k"', 'METHOD=,URI="k"',
            'METHOD=AES-128,URI="k",IV=1', 'METHOD=AES-128,URI="k",IV="0x1 2"', 'METHOD=AES-128,URI="https://["',
            "METHOD=AES-128,X=a URI=https://evil.test/x", 'METHOD=AES-128,URI="data:,https://up.example/"',
            'METHOD=SAMPLE-AES,URI="skd://https://up.example/"', "",
        ],
    )  # fmt: skip
    def test_an_unreadable_key_makes_gaps_until_the_next_key(self, key):
        relayed = self.relay(
            f"#EXTINF:1,\n1.ts\n#EXT-X-KEY:{key}\n#EXTINF:2,\n2.ts\n#EXTINF:3,\n3.ts\n"
            "#EXT-X-KEY:METHOD=NONE\n#EXTINF:4,\n4.ts\n"
        )

        assert relayed == [
            "#EXTINF:1,", "1.ts", "#EXTINF:2,", "#EXT-X-GAP", "2.ts", "#EXTINF:3,", "#EXT-X-GAP", "3.ts",
            "#EXT-X-KEY:METHOD=NONE", "#EXTINF:4,", "4.ts",
        ]  # fmt: skip

    @pytest.mark.parametrize("order", [1, -1])
    def test_one_readable_key_of_a_group_is_enough(self, order):
        keys = ["#EXT-X-KEY:METHOD=SAMPLE-AES", '#EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://a"'][
            ::order
        ]
        relayed = self.relay("\n".join(keys) + "\n#EXTINF:1,\n1.ts\n")

        assert relayed == ['#EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://a"', "#EXTINF:1,", "1.ts"]

    @pytest.mark.parametrize(
        "attributes",
        ['BYTERANGE="1@0"', 'URI=""', 'URI="i.mp4",BYTERANGE="1"', 'URI="i.mp4",BYTERANGE=x', ""],
    )
    def test_an_unreadable_map_makes_gaps_until_the_next_map(self, attributes):
        relayed = self.relay(
            f'#EXT-X-MAP:{attributes}\n#EXTINF:1,\n1.ts\n#EXT-X-MAP:URI="i.mp4",BYTERANGE="9@0"\n#EXTINF:2,\n2.ts\n'
        )

        assert relayed[:3] == ["#EXTINF:1,", "#EXT-X-GAP", "1.ts"]
        assert relayed[3].endswith('/i.mp4",BYTERANGE="9@0"') and relayed[4:] == [
            "#EXTINF:2,",
            "2.ts",
        ]

    @pytest.mark.parametrize("uri", ["https://[", "x" * 5000, "x" * 50_000])
    def test_an_unusable_uri_makes_a_gap(self, uri):
        assert self.relay(f"#EXTINF:1,\n{uri}\n") == ["#EXTINF:1,", "#EXT-X-GAP", "unavailable"]

    @pytest.mark.parametrize("tag", ["KEY:METHOD=AES-128", "MAP:X=1", "BYTERANGE:1@0"])
    @pytest.mark.parametrize("length", [5000, 50_000])
    def test_a_tag_that_is_too_long_makes_a_gap(self, tag, length):
        line = f'#EXT-X-{tag},URI="{"x" * length}"'
        assert self.relay(f"{line}\n#EXTINF:1,\n1.ts\n") == ["#EXTINF:1,", "#EXT-X-GAP", "1.ts"]

    @pytest.mark.parametrize(
        ("part", "relayed"),
        [
            ('DURATION=0.5,URI="p.mp4",INDEPENDENT=YES', 'DURATION=0.5,URI="*/p.mp4",INDEPENDENT=YES'),
            ('DURATION=0.5,URI="p.mp4",BYTERANGE="10"', 'DURATION=0.5,URI="*/p.mp4",BYTERANGE="10"'),
            ("DURATION=0.5", 'DURATION=0.5,URI="unavailable",GAP=YES'),
            ('DURATION=0.5,URI="p.mp4",BYTERANGE="x"', 'DURATION=0.5,URI="unavailable",GAP=YES'),
            ('URI="p.mp4"', None),
        ],
    )  # fmt: skip
    def test_an_unreadable_part_becomes_a_gap(self, part, relayed):
        text = rewrite(f"{HEAD}#EXT-X-PART:{part}\n#EXTINF:1,\n1.ts\n")
        lines = [line for line in text.splitlines() if line.startswith("#EXT-X-PART")]
        expected = [] if relayed is None else [f"#EXT-X-PART:{relayed}"]

        assert [line.replace(line.partition('URI="')[2].partition("/p.mp4")[0], "*") if "/p" in line else line for line in lines] == expected  # fmt: skip


class TestUris:
    """Every URI that players fetch becomes a relay URL."""

    def test_every_tag_with_a_uri(self):
        text = rewrite(
            f"{HEAD}"
            '#EXT-X-KEY:METHOD=AES-128,URI="U0",IV=0x0\n#EXT-X-MAP:BYTERANGE="1@0",URI="U1"\n'
            '#EXT-X-PART:DURATION=1,URI="U2",BYTERANGE="1@0"\n#EXTINF:4,URI="dropped"\n  U3\t\n'
            '#EXT-X-PRELOAD-HINT:TYPE=PART,URI="U4"\n#EXT-X-RENDITION-REPORT:URI="U5",LAST-MSN=1\n'
            '#EXT-X-DATERANGE:ID="a",X-ASSET-URI="U6",X-ASSET-LIST="U7",X-OTHER-URI="dropped"\n'
            '#EXT-X-KEY:METHOD=AES-128, URI = "U8" ,junk,URI="U9"\n#EXT-X-PREFETCH:U10\n#EXT-X-TWITCH-PREFETCH:U11\n'
            "#EXT-X-KEY:METHOD=AES-128,URI=U12\n"
        )

        assert list_urls(text) == [f"{ROOT}U{n}" for n in (*range(9), 10, 11, 12)]
        assert "dropped" not in text and "junk" not in text

    def test_every_tag_of_a_multivariant_playlist_with_a_uri(self):
        text = rewrite(
            '#EXTM3U\n#EXT-X-SESSION-DATA:DATA-ID="a",URI="U0"\n#EXT-X-SESSION-KEY:METHOD=AES-128,URI="U1",IV=0x0\n'
            '#EXT-X-CONTENT-STEERING:SERVER-URI="U2",PATHWAY-ID="a"\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="g",URI="U3",NAME="a,URI=b"\n'
            '#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,URI="U4"\n#EXT-X-IMAGE-STREAM-INF:BANDWIDTH=1,URI="U5"\n'
            '#EXT-X-STREAM-INF:BANDWIDTH=1,PROGRESSIVE-URI="U6",NAME="a"\n# between\n#EXT-X-VENDOR:1\nU7\nstray\n'
        )

        assert list_urls(text) == [f"{ROOT}U{n}" for n in range(8)]
        assert "#EXT-X-VENDOR:1\n#EXT-X-STREAM-INF" in text and "stray" not in text
        assert "a,URI=b" not in text

    @pytest.mark.parametrize(
        ("uri", "url"),
        [
            ("vidéo عربي 0.ts", f"{ROOT}vid%C3%A9o%20%D8%B9%D8%B1%D8%A8%D9%8A%200.ts"),
            ("x//1.ts", f"{ROOT}x//1.ts"), ("?", f"{ROOT}m.m3u8?"), ("a;b=1/../c;d.ts", f"{ROOT}c;d.ts"),
            ("./a/./b.ts", f"{ROOT}a/b.ts"), ("../b.ts", "https://cdn.example/sec2(0123456789abcdef0123)/video/b.ts"),
            ("/b.ts", "https://cdn.example/b.ts"), ("//v.example/b.ts", "https://v.example/b.ts"), ("https:b.ts", f"{ROOT}b.ts"),
            ("https://v.example:443/b.ts", "https://v.example/b.ts"), ("HTTPS://V.Example/b", "https://v.example/b"),
            ("a|b^c`{d}.ts", f"{ROOT}a%7Cb%5Ec%60%7Bd%7D.ts"), ("a%2fb.ts?c=%zz", f"{ROOT}a%2fb.ts?c=%zz"),
            ("a=b,c~d+e:f@g!h.ts", f"{ROOT}a=b,c~d+e:f@g!h.ts"), ("a\tb.ts", f"{ROOT}ab.ts"), ("a\\b.ts", f"{ROOT}a/b.ts"),
        ],
    )  # fmt: skip
    def test_a_uri_is_resolved_as_browsers_do(self, uri, url):
        assert list_urls(rewrite(f"{HEAD}#EXTINF:4,\n{uri}\n")) == [url]

    @pytest.mark.parametrize(
        ("fragment", "kept"),
        [
            ("#cell=cf4", "#cell=cf4"),
            ("#", ""),
            ('#EXT-X-MEDIA:TYPE=AUDIO,URI="https://evil.test"', ""),
            ("#A", ""),
        ],
    )
    def test_a_plain_fragment_is_kept(self, fragment, kept):
        uri = rewrite(f"#EXTM3U\n{INF}\nv.m3u8{fragment}\n").splitlines()[2]
        assert uri.endswith(f"/playlist.m3u8{kept}")

    @pytest.mark.parametrize(
        "text",
        [
            f"{HEAD}#EXTINF:4,\nhttps://evil.test/1.ts\n", f"{HEAD}#EXTINF:4,\n//evil.test/1.ts\n", f"{HEAD}#EXTINF:4,\njavascript:x\n",
            f"{HEAD}#EXTINF:4,\n\\\\evil.test/1.ts\n", f"{HEAD}#EXTINF:4,\nfile:///etc/passwd\n", f"{HEAD}#EXTINF:4,\ndata:,x\n",
            f'{HEAD}#EXT-X-KEY:METHOD=AES-128,URI="https://evil.test/k"\n', f'{HEAD}#EXT-X-MAP:URI="https://evil.test/i"\n',
            f'{HEAD}#EXT-X-KEY:METHOD=AES-128,URI="file:///k"\n', f'{HEAD}#EXT-X-PART:DURATION=1,URI="https://evil.test/p"\n',
            f"#EXTM3U\n{INF}\nhttps://evil.test/v\n", f'#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,URI="https://evil.test/a"\n{INF}\nv\n',
            f'#EXTM3U\n#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,URI="https://evil.test/a"\n{INF}\nv\n',
            f"{HEAD}#EXTINF:4,a\rhttps://evil.test/1.ts\n", f"{HEAD}#EXTINF:4,\nhttps://u:p@evil.test/1.ts\n",
        ],
    )  # fmt: skip
    def test_what_a_player_needs_on_a_foreign_host_refuses_the_playlist(self, text):
        assert catch_reason(lambda: rewrite(text)) == "stream-host-not-allowed"

    @pytest.mark.parametrize(
        "line",
        [
            '#EXT-X-SESSION-DATA:DATA-ID="a",URI="https://evil.test/"', '#EXT-X-CONTENT-STEERING:SERVER-URI="https://evil.test/"',
            '#EXT-X-IMAGE-STREAM-INF:BANDWIDTH=1,URI="https://evil.test/i"', "#EXT-X-SESSION-KEY:METHOD=AES-128",
            '#EXT-X-CONTENT-STEERING:SERVER-URI="data:,x"', '#EXT-X-CONTENT-STEERING:SERVER-URI="data:;base64,!"',
            "#EXT-X-MEDIA:NAME=a", '#EXT-X-MEDIA:TYPE=AUDIO,URI="https://["', "#EXT-X-STREAM-INF:BANDWIDTH=2", "#EXT-X-STREAM-INF:BANDWIDTH=2\nhttps://[", "#EXT-X-STREAM-INF:\nv",
            "#EXT-X-MEDIA-SEQUENCE:0", "#EXT-X-KEY:METHOD=NONE",
        ],
    )  # fmt: skip
    def test_an_optional_tag_is_dropped(self, line):
        text = f"#EXTM3U\n{line}\n{INF}\nv.m3u8\n"
        assert list_urls(rewrite(text)) == [f"{ROOT}v.m3u8"] and write(text).changes
        assert rewrite(text).count("#") == 2

    def test_a_steering_manifest_in_a_data_url_leads_nowhere(self):
        manifest = '{"VERSION":1,"TTL":9,"RELOAD-URI":"https://up.example/","PATHWAY-PRIORITY":["a"],"PATHWAY-CLONES":[{}]}'
        text = rewrite(
            f"#EXTM3U\n#EXT-X-CONTENT-STEERING:SERVER-URI='data:,{manifest}'\n{INF}\nv\n".replace(
                "'", ""
            )
        )

        assert "STEERING" not in text  # unquoted, it ends at the first comma
        encoded = manifest.replace('"', "%22")
        text = rewrite(f'#EXTM3U\n#EXT-X-CONTENT-STEERING:SERVER-URI="data:,{encoded}"\n{INF}\nv\n')
        assert 'SERVER-URI="data:application/json;base64,eyJWRVJTSU9OIjogMSwgIlRUTCI6IDksICJQQVRIV0FZLVBSSU9SSVRZIjogWyJhIl19"' in text  # fmt: skip


class TestVariables:
    """Variables are filled in; EXT-X-DEFINE is dropped, because its values may be signatures."""

    def test_variables_are_filled_in_and_passed_to_children(self):
        text = f'#EXTM3U\n#EXT-X-DEFINE:NAME="h",VALUE="https://h.example"\n{INF},NAME="{{$h}} {{$none}}"\n{{$h}}/v.m3u8\n'
        document = write(text)
        assert document.variables == {"h": "https://h.example"}
        relayed = rewrite(text, place=build_place(variables=document.variables))
        (url,) = list_urls(relayed)
        assert url == "https://h.example/v.m3u8" and "NAME" not in relayed

        media = f'{HEAD}#EXT-X-DEFINE:IMPORT="h"\n#EXTINF:1,\n{{$h}}/1.ts\n'
        assert list_urls(rewrite(media, imported=document.variables)) == ["https://h.example/1.ts"]
        assert write(media, imported=document.variables).depends_on_url

    @pytest.mark.parametrize(
        "tag",
        ['#EXT-X-DEFINE:QUERYPARAM="sig"', '#EXT-X-DEFINE: QUERYPARAM = "sig"', '#EXT-X-DEFINE:X="1",QUERYPARAM="sig"'],
    )  # fmt: skip
    def test_no_form_of_the_define_tag_reveals_the_signature(self, tag):
        text = f"{HEAD}{tag}\n#EXTINF:1,\n{{$sig}}/a.ts\n#EXTINF:1,\nb.ts?s={{$sig}}\n"
        base = f"https://cdn.example/m.m3u8?sig={'S' * 30}"
        relayed = rewrite(text, base=base)

        assert "SSS" not in relayed and write(text, base=base).depends_on_url
        assert list_urls(relayed, build_place(base)) == [
            f"https://cdn.example/{'S' * 30}/a.ts", f"https://cdn.example/b.ts?s={'S' * 30}",
        ]  # fmt: skip

    def test_what_variables_insert_is_limited(self):
        text = f'{HEAD}#EXT-X-DEFINE:NAME="v",VALUE="{"x" * 2000}"\n' + "#EXTINF:4,\n{$v}\n" * 2000
        assert catch_reason(lambda: rewrite(text)) == "playlist-invalid"


class TestLimits:
    """Variants beyond the viewer's limits are dropped, and what belongs to them."""

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
        text = rewrite(self.TEXT, limits=VariantLimits(**limits))
        return [url.rpartition("/")[2].removesuffix(".m3u8") for url in list_urls(text)]

    def test_a_height_limit_drops_variants_without_resolution(self):
        assert self.names(max_height=360) == ["audio", "mid"]

    def test_a_bandwidth_limit_drops_larger_variants(self):
        assert self.names(max_bandwidth=400) == ["audio", "mid", "unknown", "frames"]

    def test_a_playlist_within_the_limits_is_complete(self):
        assert self.names(max_bandwidth=10**9) == [
            "angle",
            "audio",
            "big",
            "mid",
            "unknown",
            "frames",
        ]

    def test_no_variant_within_the_limits_is_a_refusal(self):
        limits = VariantLimits(max_bandwidth=399, max_height=360)
        assert catch_reason(lambda: rewrite(self.TEXT, limits=limits)) == "format-unavailable"

    @pytest.mark.parametrize(
        "attributes",
        [
            "BANDWIDTH=900,BANDWIDTH=1,RESOLUTION=640x360", "BANDWIDTH=1,RESOLUTION=1280x720,RESOLUTION=1x1",
            f"BANDWIDTH={'0' * 20}999,RESOLUTION=1x1", "RESOLUTION=1x1", "BANDWIDTH=1", "BANDWIDTH=1 9,RESOLUTION=1x1",
        ],
    )  # fmt: skip
    def test_duplicate_or_missing_attributes_do_not_evade_the_limits(self, attributes):
        limits = VariantLimits(max_height=360, max_bandwidth=400)
        text = f"#EXTM3U\n#EXT-X-STREAM-INF:{attributes}\nbig.m3u8\n"
        assert catch_reason(lambda: rewrite(text, limits=limits)) == "format-unavailable"

    def test_reports_about_other_renditions_are_dropped(self):
        text = (
            f'{HEAD}#EXTINF:4,\n1.ts\n#EXT-X-RENDITION-REPORT:URI="../1080/media.m3u8",LAST-MSN=1\n'
        )
        assert "REPORT" not in rewrite(text, limits=VariantLimits(max_height=360))


class TestPlaylists:
    """What a body must be, and how its kind is found."""

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            (b"#EXTM3U", True), (b"#EXTM3U\n", True), (b"\xef\xbb\xbf#EXTM3U\r\n", True), (b"\n \r\n#EXTM3U x\n", True),
            (b"#EXTM3U8\n", False), (b"", False), (b"<html>", False), (b"#extm3u", False), (b"\n" * 5000 + b"#EXTM3U", False),
        ],
    )  # fmt: skip
    def test_a_playlist_is_known_by_its_beginning(self, body, expected):
        assert is_playlist(body) is expected

    @pytest.mark.parametrize(
        ("text", "kind"),
        [
            (f"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n{INF}\nv\n", "multivariant"),
            (f"#EXTM3U\n{INF}\nv\n# #EXTINF:1,\n", "multivariant"),
            (f'#EXTM3U\n{INF},NAME="#EXTINF:"\nv\n', "multivariant"),
            (f"#EXTM3U\n{INF}\nv\n  #EXTINF:1,\n1.ts\n", "media"),
            (f"#EXTM3U\n{INF}\n#EXT-X-TARGETDURATION:1\n", "media"),
            ("#EXTM3U\r#EXTINF:1,\r1.ts", "media"),
            ("#EXTINF:1,\n1.ts", "media"),
        ],
    )
    def test_the_kind_is_found_as_players_find_it(self, text, kind):
        assert write(text).kind == kind

    @pytest.mark.parametrize(
        ("text", "rule"),
        [
            ("#EXTM3U\n", "empty"), ("#EXTM3U\nfoo.ts\n", "empty"), (f"{HEAD}#EXT-X-ENDLIST\n", "segments-none"),
            ('#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,NAME="a"\n', "variants-none"), (f"#EXTM3U\n{INF}\n", "variants-none"),
        ],
    )  # fmt: skip
    def test_a_playlist_with_nothing_to_play_is_refused(self, text, rule):
        with pytest.raises(Exception, match=rule):
            write(text)

    def test_a_live_playlist_may_be_empty(self):
        assert rewrite(HEAD) == HEAD

    def test_line_ends_and_invalid_bytes(self):
        body = (
            b"\xef\xbb\xbf#EXTM3U\r\n#EXT-X-TARGETDURATION:6\r\r\n#EXTINF:4,caf\xe9\rcaf\xe9.ts\n\n"
        )
        lines = rewrite(body).splitlines()

        assert lines[:3] == ["#EXTM3U", "#EXT-X-TARGETDURATION:6", "#EXTINF:4,caf\ufffd"]
        assert list_urls("\n".join(lines)) == [f"{ROOT}caf%EF%BF%BD.ts"]

    @pytest.mark.parametrize(
        "length", [100, BLOCK_BYTES - 60, 3 * BLOCK_BYTES, 3 * BLOCK_BYTES + 9]
    )
    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_lines_of_any_length_are_read(self, length, end):
        text = (
            f"{HEAD}# {'x' * length}\n#EXTINF:4,\n1.ts\n#EXT-X-BAD {'y' * length}\n#EXTINF:5,\n2.ts"
        )
        document = write(text.replace("\n", end))

        assert join_blocks(document).replace("#EXT-X-BAD\n", "") == (
            f"{HEAD}#EXTINF:4,\n\0\n#EXTINF:5,\n\0"
        )
        assert document.changes[0].line == 3

    def test_a_long_line_at_the_end(self):
        assert rewrite(f"{HEAD}#EXTINF:4,\n1.ts\n{'x' * 3 * BLOCK_BYTES}").count("\n") == 4

    def test_the_number_of_lines_and_of_costly_tags_is_limited(self):
        assert catch_reason(lambda: write(HEAD + "\n" * 300_001)) == "playlist-invalid"
        many = '#EXT-X-RENDITION-REPORT:URI="a"\n' * 501
        assert catch_reason(lambda: write(HEAD + many)) == "playlist-invalid"

    def test_the_number_of_children_with_a_seal_of_their_own_is_limited(self):
        many = "".join(f'#EXT-X-DATERANGE:ID="{n}",X-ASSET-URI="{n}"\n' for n in range(2001))
        assert catch_reason(lambda: write(HEAD + many)) == "playlist-invalid"

    def test_at_most_a_thousand_changes_are_recorded(self):
        assert len(write(HEAD + "# x\n" * 2000).changes) == 1000

    @pytest.mark.parametrize(
        ("tags", "expected"),
        [
            ("#EXT-X-PLAYLIST-TYPE:VOD\n", True), ("#EXT-X-PLAYLIST-TYPE:VOD\r\n#EXT-X-MEDIA-SEQUENCE:5\n", True),
            ("#EXT-X-ENDLIST\n", True), ("#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-ENDLIST\n", True),
            ("#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-ENDLIST\n", False), ("#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-ENDLIST\n", False),
            ("", False), ("#EXTINF:1,#EXT-X-ENDLIST\n", False),
        ],
    )  # fmt: skip
    def test_tags_decide_whether_a_playlist_can_change(self, tags, expected):
        assert write(f"{HEAD}{tags}#EXTINF:1,\n1.ts\n").is_vod is expected

    @pytest.mark.parametrize(("value", "expected"), [("YES", True), ("NO", False)])
    def test_blocking_reloads_are_found(self, value, expected):
        text = f"{HEAD}#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD={value}\n#EXTINF:1,\n1.ts\n"
        assert write(text).offers_blocking is expected


HOSTILE = [
    '#EXT-X-STREAM-INF:BANDWIDTH=1,NAME="#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=a,URI=https://evil.test/x"\nv.m3u8',
    f'{INF}\nv.m3u8#EXT-X-MEDIA:TYPE=AUDIO,URI="https://evil.test/x"',
    "#EXTINF:4,\n1.ts\n#EXT-X-KEY:METHOD=AES-128,X=a URI=https://evil.test/x",
    '#EXTINF:4,\n1.ts\n#EXT-X-KEY:METHOD=NONE,X="a\\",URI="https://evil.test/x"',
    "#EXTINF:4,\n1.ts\n# comment \u2028https://evil.test/1.ts",
    "#EXTINF:4,\x0bhttps://evil.test/1.ts\n1.ts", '#EXTINF:4,\n1.ts\n#EXT-X-VENDOR:A="b"URI="https://evil.test"',
    '#EXTINF:4,\n1.ts\n#EXT-X-DATERANGE:ID="a",X="b"URI="https://evil.test"',
    '#EXTINF:4,\n1.ts\n#EXT-X-DATERANGE:ID="a\tURI=https://evil.test',
    '#EXTINF:4,\n1.ts\n##EXT-X-MAP:URI="https://evil.test"', "#EXTINF:4,\n1.ts\n#EXT-X-CUE:a=b\u0085URI=https://evil.test",
    '#EXTINF:4,<a href="https://evil.test">\n1.ts', '#EXTINF:4,\n1.ts\n#EXT-X-SESSION-DATA:VALUE="https://evil.test"',
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_line_that_players_read_differently_is_harmless(text):
    """hls.js, ffmpeg or m3u8-parser finds a URI in each of these."""
    relayed = rewrite(f"#EXTM3U\n{text}\n")

    assert "evil" not in relayed and "#EXT-X-M" not in relayed
    assert all(line.count("#") <= 1 and line.rfind("#") <= 0 for line in relayed.splitlines())
    assert all(url.startswith(ROOT) for url in list_urls(relayed))
    assert BASE not in relayed
