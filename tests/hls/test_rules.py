"""Every rule has a playlist that violates it; valid playlists violate no rule."""

import json
import re
from pathlib import Path

import pytest
from hls.relayed import rewrite
from support import ROOT

from proxy.domain.allowed_hosts import AllowedHosts
from proxy.domain.reasons import Refusal
from proxy.hls.lint.check import check
from proxy.hls.lint.findings import MAX_FINDINGS_PER_RULE
from proxy.hls.lint.relay_changes import AnyHost, find_relay_changes
from proxy.hls.lint.rules import RULES
from proxy.hls.lint.text import MAX_ATTRIBUTES, MAX_BYTES, MAX_LINES, MAX_LISTS, MAX_TAGS
from proxy.hls.model import Playlist, PlaylistUnreadable, read_model
from proxy.hls.playlist_writer import is_playlist
from proxy.hls.reload import compare
from proxy.hls.variables import MAX_INSERTED

MEDIA = "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:4\n"
SEGMENT = "#EXTINF:4,\n1.ts\n"
MULTI = "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8\n"
VARIABLE = f'#EXT-X-DEFINE:NAME="v",VALUE="{"x" * 2000}"\n'
LOW = f"{MEDIA}#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=2\n#EXT-X-PART-INF:PART-TARGET=1\n"
CLOCK = "#EXT-X-PROGRAM-DATE-TIME:2026-11-20T18:00:00Z\n"
RANGE = '#EXT-X-DATERANGE:ID="a",START-DATE="2026-11-20T18:00:00Z"'

AD = MEDIA + CLOCK + SEGMENT + RANGE + ',CLASS="com.apple.hls.interstitial"'
PRELOAD = (
    MEDIA + CLOCK + SEGMENT + RANGE + ',CLASS="com.apple.hls.preload",X-URI="a",X-TARGET-ID="b"'
    ',X-TARGET-CLASS="com.apple.hls.interstitial",DURATION=1'
)

DRM_KEY = '#EXT-X-KEY:METHOD=SAMPLE-AES-CTR,URI="data:,k",KEYFORMAT="drm.a"\n'
PARTS = '#EXT-X-PART:DURATION=1,URI="p"\n#EXT-X-PART:DURATION=1,URI="q"\n'

# rule, playlist, line of the finding
BROKEN: list[tuple[str, str | bytes, int | None]] = [
    ("extm3u", "", 1),
    ("extm3u", "<!doctype html><title>Just a moment</title>", 1),
    ("extm3u", '{"error": {"code": 403}}', 1),
    ("blank-first", "\n" + MEDIA + SEGMENT, 1),
    ("markup", MEDIA + SEGMENT + "<!-- cached -->\n", 6),
    ("attribute-text", MULTI + '#EXT-X-STREAM-INF:BANDWIDTH=1,NAME="180p "SD"",RESOLUTION=320x180\nw.m3u8\n', 5),
    ("extm3u", "#EXTM3U8\n", 1),
    ("extm3u", b"\xff\xfe#\x00E\x00", 1),
    ("encoding", MEDIA.encode() + b"#EXTINF:4,caf\xe9\n1.ts\n", 4),
    ("control-character", MEDIA + "#EXTINF:4,a\x00b\n1.ts\n", 4),
    ("control-character", MEDIA + "#EXTINF:4,a\x85b\n1.ts\n", 4),
    ("control-character", MEDIA + "#EXTINF:4,a\u2028https://evil.example/\n1.ts\n", 4),
    ("control-character", MEDIA + "#EXTINF:4,a\u2028https://evil.example/\n1.ts\n", 4),
    ("size", MEDIA + SEGMENT + f"#{'x' * 500}\n" * (MAX_BYTES // 500), None),
    ("excess", MEDIA + SEGMENT * (MAX_LINES // 2), None),
    ("excess", MEDIA + "\r" * (MAX_LINES + 1), None),
    ("excess", MEDIA + "\r\n" * (MAX_LINES + 1), None),
    ("excess", MEDIA + f"#EXT-X-NEW:{'A=1,' * 900}\n" * (MAX_ATTRIBUTES // 900 + 1), None),
    ("excess", MEDIA + VARIABLE + f"#EXTINF:4,\n{'{$v}' * 2}\n" * (MAX_INSERTED // 4000 + 1), None),
    ("excess", MEDIA + "#EXT-X-NEW:A=1\n" * (MAX_LISTS + 1), None),
    ("excess", MEDIA + '#EXT-X-NEW: URI = "k"\r' * MAX_LISTS + "#EXT-X-NEW:A=1\n", None),
    *(
        ("excess", "#EXTM3U\n" + f"#{tag}{colon}\n" * (most + 1), None)
        for tag, most in MAX_TAGS.items()
        for colon in (":A=1", "")
    ),
    ("line-length", MEDIA + "#EXTINF:4,\n" + "a" * 4097 + "\n", 5),
    ("line-length", MEDIA + f"#EXTINF:4,{'é' * 2048}\n1.ts\n", 4),
    ("bom", "\ufeff" + MEDIA + SEGMENT, 1),
    ("last-line", MEDIA + "#EXTINF:4,\n1.ts", 5),
    ("empty", "#EXTM3U\n", None),
    ("empty", "#EXTM3U\n#EXT-X-VERSION:3\n# nothing\n", None),
    ("tag-repeated", "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-VERSION:4\n#EXT-X-TARGETDURATION:4\n" + SEGMENT, 3),
    ("tag-repeated", MEDIA + "#EXT-X-TARGETDURATION:4\n" + SEGMENT, 4),
    ("tag-value", MEDIA.replace(":4", ":4.5") + SEGMENT, 3),
    ("tag-value", MEDIA + "#EXT-X-PLAYLIST-TYPE:LIVE\n" + SEGMENT, 4),
    ("tag-value", MEDIA + "#EXT-X-MEDIA-SEQUENCE:-1\n" + SEGMENT, 4),
    ("tag-value", MEDIA + "#EXT-X-PROGRAM-DATE-TIME:yesterday\n" + SEGMENT, 4),
    ("tag-value", MEDIA + "#EXT-X-PROGRAM-DATE-TIME:2026-13-20T18:00:00Z\n" + SEGMENT, 4),
    ("tag-value", "#EXTM3U\n#EXT-X-VERSION:x\n#EXT-X-TARGETDURATION:4\n" + SEGMENT, 2),
    ("tag-value", MEDIA + "#EXT-X-BYTERANGE:a@b\n" + SEGMENT, 4),
    ("tags-mixed", MULTI + "#EXT-X-TARGETDURATION:4\n", 3),
    ("tags-mixed", MEDIA + SEGMENT + "#EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8\n", 6),
    ("attribute-missing", MULTI + '#EXT-X-STREAM-INF:CODECS="avc1.4d401f"\nw.m3u8\n', 5),
    ("attribute-missing", MULTI + '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a"\n', 5),
    ("attribute-missing", MULTI + '#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="a",NAME="b"\n', 5),
    ("attribute-missing", MULTI + '#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID="a",NAME="b"\n', 5),
    ("attribute-missing", MULTI + "#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1\n", 5),
    ("attribute-missing", MULTI + '#EXT-X-CONTENT-STEERING:PATHWAY-ID="a"\n', 5),
    ("attribute-missing", MULTI + "#EXT-X-START:PRECISE=YES\n", 5),
    ("attribute-missing", MEDIA + '#EXT-X-MAP:BYTERANGE="1@0"\n' + SEGMENT, 4),
    ("attribute-missing", MEDIA + '#EXT-X-KEY:URI="k"\n' + SEGMENT, 4),
    ("attribute-missing", MEDIA + "#EXT-X-SKIP:\n" + SEGMENT, 4),
    ("attribute-missing", LOW + SEGMENT + '#EXT-X-PART:URI="p"\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI="q"\n', 8),
    ("attribute-missing", LOW + SEGMENT + '#EXT-X-PRELOAD-HINT:URI="p"\n', 8),
    ("attribute-missing", LOW + SEGMENT + "#EXT-X-PRELOAD-HINT:TYPE=PART\n", 8),
    ("attribute-missing", MEDIA + SEGMENT + "#EXT-X-RENDITION-REPORT:LAST-MSN=1\n", 6),
    ("attribute-missing", MEDIA + CLOCK + SEGMENT + '#EXT-X-DATERANGE:START-DATE="2026-11-20T18:00:00Z"\n', 7),
    ("attribute-forbidden", MULTI + '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="b",FORCED=NO\n', 5),
    ("attribute-forbidden", MULTI + '#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID="a",NAME="b",INSTREAM-ID="CC1",URI="c"\n', 5),
    ("attribute-forbidden", MEDIA + f'#EXT-X-KEY:METHOD=SAMPLE-AES-CTR,URI="k",IV=0x{"0" * 32}\n' + SEGMENT, 4),
    ("attribute-repeated", MULTI + "#EXT-X-STREAM-INF:BANDWIDTH=1,BANDWIDTH=2\nw.m3u8\n", 5),
    ("attribute-value", MULTI + "#EXT-X-STREAM-INF:BANDWIDTH=0\nw.m3u8\n", 5),
    ("attribute-value", MULTI + "#EXT-X-STREAM-INF:BANDWIDTH=1.5\nw.m3u8\n", 5),
    ("attribute-value", MULTI + "#EXT-X-STREAM-INF:BANDWIDTH=1,VIDEO-RANGE=HDR\nw.m3u8\n", 5),
    ("attribute-value", MULTI + '#EXT-X-STREAM-INF:BANDWIDTH=1,ALLOWED-CPC="a"\nw.m3u8\n', 5),
    ("attribute-value", MULTI + '#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID="a",NAME="b",INSTREAM-ID="CC5"\n', 5),
    ("attribute-value", MEDIA + '#EXT-X-KEY:METHOD=AES-128,URI="k",IV=0x1234\n' + SEGMENT, 4),
    ("attribute-value", MEDIA + CLOCK + SEGMENT + RANGE + ",DURATION=-1\n", 7),
    ("attribute-value", MEDIA + CLOCK + SEGMENT + RANGE + ',CLASS="c",END-ON-NEXT=NO\n', 7),
    ("attribute-advice", MULTI + "#EXT-X-STREAM-INF:BANDWIDTH=1,RESOLUTION=640\nw.m3u8\n", 5),
    ("attribute-advice", MULTI + '#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS="?"\nw.m3u8\n', 5),
    ("attribute-advice", MULTI + "#EXT-X-STREAM-INF:BANDWIDTH=1,FRAME-RATE=fast\nw.m3u8\n", 5),
    ("attribute-syntax", MULTI + '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="b",URI=c.m3u8\n', 5),
    ("attribute-text", MULTI + '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="b\n', 5),
    ("attribute-text", MULTI + '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a"x,NAME="b"\n', 5),
    ("uri", MEDIA + "#EXTINF:4,\njavascript:alert(1)\n", 5),
    ("uri", MEDIA + "#EXTINF:4,\nfile:///etc/passwd\n", 5),
    ("uri", MEDIA + '#EXT-X-MAP:URI="data:,k"\n' + SEGMENT, 4),
    ("version-low", "#EXTM3U\n#EXT-X-VERSION:2\n#EXT-X-TARGETDURATION:4\n#EXTINF:3.9,\n1.ts\n", 4),
    ("version-low", '#EXTM3U\n#EXT-X-VERSION:5\n#EXT-X-TARGETDURATION:4\n#EXT-X-MAP:URI="i"\n' + SEGMENT, 4),
    ("version-missing", "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:3.9,\n1.ts\n", 3),
    ("version-missing", f'#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-KEY:METHOD=AES-128,URI="k",IV=0x{"0" * 32}\n{SEGMENT}', 3),
    ("version-missing", f'#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-KEY:METHOD=AES-128,URI="k",KEYFORMAT="identity"\n{SEGMENT}', 3),
    ("version-needed", '#EXTM3U\n#EXT-X-SESSION-KEY:METHOD=AES-128,URI="k",IV=0x' + "0" * 32 + "\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8\n", 2),
    ("version-needed", "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-BYTERANGE:1@0\n" + SEGMENT, 3),
    ("version-needed", '#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-I-FRAMES-ONLY\n#EXT-X-MAP:URI="i"\n' + SEGMENT, 3),
    ("version-needed", '#EXTM3U\n#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID="a",NAME="b",INSTREAM-ID="SERVICE1"\n', 2),
    ("define", MEDIA + '#EXT-X-DEFINE:NAME="a"\n' + SEGMENT, 4),
    ("define", MEDIA + '#EXT-X-DEFINE:VALUE="a"\n' + SEGMENT, 4),
    ("define", MEDIA + '#EXT-X-DEFINE:NAME="a",VALUE="b",IMPORT="c"\n' + SEGMENT, 4),
    ("define-repeated", MEDIA + '#EXT-X-DEFINE:NAME="a",VALUE="b"\n#EXT-X-DEFINE:IMPORT="a"\n' + SEGMENT, 5),
    ("variable-undefined", MEDIA + "#EXTINF:4,\n{$host}/1.ts\n", 5),
    ("variable-undefined", MEDIA + '#EXT-X-MAP:URI="{$a}"\n#EXT-X-DEFINE:NAME="a",VALUE="b"\n' + SEGMENT, 4),
    ("variants-none", '#EXTM3U\n#EXT-X-SESSION-DATA:DATA-ID="a",VALUE="b"\n', None),
    ("variants-none", '#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="b",URI="c"\n', None),
    ("variant-uri", MULTI + "#EXT-X-STREAM-INF:BANDWIDTH=1\n", 5),
    ("variant-uri", MULTI + "#EXT-X-STREAM-INF:BANDWIDTH=1\n#EXT-X-STREAM-INF:BANDWIDTH=2\nw.m3u8\n", 5),
    ("variant-stray", MULTI + "w.m3u8\n", 5),
    ("group", MULTI + '#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO="a"\nw.m3u8\n', 5),
    ("group", MULTI + '#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO="a"\nw.m3u8\n#EXT-X-MEDIA:TYPE=VIDEO,GROUP-ID="a",NAME="b"\n', 5),
    ("captions-none", MULTI + "#EXT-X-STREAM-INF:BANDWIDTH=1,CLOSED-CAPTIONS=NONE\nw.m3u8\n", 3),
    ("score-some", MULTI + "#EXT-X-STREAM-INF:BANDWIDTH=1,SCORE=1\nw.m3u8\n", 3),
    ("media-name", MULTI + '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="b"\n' * 2, 6),
    ("media-default", MULTI + "".join(f'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="{n}",DEFAULT=YES\n' for n in "bc"), 6),
    ("media-autoselect", MULTI + '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="b",DEFAULT=YES,AUTOSELECT=NO\n', 5),
    ("version-low", MEDIA.replace(":11", ":9") + '#EXT-X-SKIP:SKIPPED-SEGMENTS=3,RECENTLY-REMOVED-DATERANGES=""\n' + SEGMENT, 4),
    ("version-low", MULTI + '#EXT-X-STREAM-INF:BANDWIDTH=1,REQ-VIDEO-LAYOUT="CH-STEREO"\nw.m3u8\n', 5),
    ("version-low", MULTI + '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="b",INSTREAM-ID="1"\n', 5),
    ("define", MULTI + '#EXT-X-DEFINE:IMPORT="a"\n', 5),
    ("sequence-late", LOW + '#EXT-X-PART:DURATION=1,URI="p"\n#EXT-X-MEDIA-SEQUENCE:1\n' + SEGMENT, 7),
    ("tag-value", MEDIA + "#EXT-X-PROGRAM-DATE-TIME:2026-02-31T18:00:00Z\n" + SEGMENT, 4),
    ("tag-value", MEDIA + "#EXT-X-PROGRAM-DATE-TIME:2026-02-01T24:30:00Z\n" + SEGMENT, 4),
    ("tag-value", "#EXTM3U\n#EXT-X-VERSION:0\n#EXT-X-TARGETDURATION:4\n" + SEGMENT, 2),
    ("attribute-value", MEDIA + CLOCK + SEGMENT + RANGE + ',SCTE35-OUT="abc"\n', 7),
    ("attribute-value", MEDIA + CLOCK + SEGMENT + RANGE + ',CUE="NEVER"\n', 7),
    ("attribute-value", MULTI + '#EXT-X-SESSION-DATA:DATA-ID="a",URI="b",FORMAT=XML\n', 5),
    ("attribute-value", MULTI + '#EXT-X-CONTENT-STEERING:SERVER-URI="s",PATHWAY-ID="a b"\n', 5),
    ("attribute-syntax", MULTI + '#EXT-X-STREAM-INF:BANDWIDTH="1"\nw.m3u8\n', 5),
    ("attribute-syntax", MULTI + '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=a,NAME="b"\n', 5),
    ("group", MULTI + '#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,URI="i",VIDEO="nope"\n', 5),
    ("byterange", LOW + '#EXT-X-PART:DURATION=1,URI="p",BYTERANGE="9"\n' + SEGMENT, 6),
    ("report-absolute", MEDIA + SEGMENT + '#EXT-X-RENDITION-REPORT:URI="https:/b.m3u8"\n', 6),
    ("session-data", MULTI + '#EXT-X-SESSION-DATA:DATA-ID="a"\n', 5),
    ("session-data", MULTI + '#EXT-X-SESSION-DATA:DATA-ID="a",VALUE="b",URI="c"\n', 5),
    ("session-data-repeated", MULTI + '#EXT-X-SESSION-DATA:DATA-ID="a",VALUE="b"\n' * 2, 6),
    ("session-key-none", MULTI + "#EXT-X-SESSION-KEY:METHOD=NONE\n", 5),
    ("session-key-repeated", MULTI + '#EXT-X-SESSION-KEY:METHOD=AES-128,URI="k"\n' * 2, 6),
    ("segments-none", MEDIA + "#EXT-X-ENDLIST\n", None),
    ("segments-none", MEDIA + "#EXT-X-PLAYLIST-TYPE:VOD\n", None),
    ("segments-yet", MEDIA, None),
    ("target-duration", "#EXTM3U\n" + SEGMENT, None),
    ("segment-long", MEDIA + "#EXTINF:4.5,\n1.ts\n", 4),
    ("extinf", MEDIA + "1.ts\n", 4),
    ("extinf", MEDIA + SEGMENT + "2.ts\n", 6),
    ("extinf-value", MEDIA + "#EXTINF:-1,\n1.ts\n", 4),
    ("extinf-value", MEDIA + "#EXTINF:,\n1.ts\n", 4),
    ("extinf-comma", MEDIA + "#EXTINF:4\n1.ts\n", 4),
    ("segment-uri", MEDIA + SEGMENT + "#EXTINF:4,\n", 6),
    ("segment-uri", MEDIA + SEGMENT + "#EXT-X-BYTERANGE:1@0\n", 6),
    ("sequence-late", MEDIA + SEGMENT + "#EXT-X-MEDIA-SEQUENCE:1\n", 6),
    ("discontinuity-late", MEDIA + "#EXT-X-DISCONTINUITY\n#EXT-X-DISCONTINUITY-SEQUENCE:1\n" + SEGMENT, 5),
    ("byterange", MEDIA + "#EXT-X-BYTERANGE:1\n" + SEGMENT, 4),
    ("byterange", MEDIA + "#EXT-X-BYTERANGE:1@0\n" + SEGMENT + "#EXT-X-BYTERANGE:1\n#EXTINF:4,\n2.ts\n", 7),
    ("key-uri", MEDIA + "#EXT-X-KEY:METHOD=AES-128\n" + SEGMENT, 4),
    ("key-uri", MULTI + "#EXT-X-SESSION-KEY:METHOD=AES-128\n", 5),
    ("key-none", MEDIA + '#EXT-X-KEY:METHOD=NONE,URI="k"\n' + SEGMENT, 4),
    ("gap-part", LOW + '#EXT-X-GAP\n#EXT-X-PART:DURATION=1,URI="p"\n' + SEGMENT, 7),
    ("daterange-start", MEDIA + CLOCK + SEGMENT + '#EXT-X-DATERANGE:ID="a"\n', 7),
    ("daterange-end", MEDIA + CLOCK + SEGMENT + RANGE + ',END-DATE="2026-11-20T17:59:59Z"\n', 7),
    ("daterange-length", MEDIA + CLOCK + SEGMENT + RANGE + ',END-DATE="2026-11-20T18:00:09Z",DURATION=8\n', 7),
    ("daterange-next", MEDIA + CLOCK + SEGMENT + RANGE + ",END-ON-NEXT=YES\n", 7),
    ("daterange-next", MEDIA + CLOCK + SEGMENT + RANGE + ',CLASS="c",END-ON-NEXT=YES,DURATION=1\n', 7),
    ("daterange-overlap", MEDIA + CLOCK + SEGMENT + RANGE + ',CLASS="c",DURATION=9\n#EXT-X-DATERANGE:ID="b",CLASS="c",START-DATE="2026-11-20T18:00:08Z",END-ON-NEXT=YES\n', 8),
    ("daterange-overlap", MEDIA + CLOCK + SEGMENT + RANGE + ',CLASS="c",END-DATE="2026-11-20T18:00:09Z"\n#EXT-X-DATERANGE:ID="b",CLASS="c",START-DATE="2026-11-20T18:00:08Z",END-ON-NEXT=YES\n', 8),
    ("attribute-forbidden", MULTI + '#EXT-X-MEDIA:TYPE=VIDEO,GROUP-ID="a",NAME="b",CHANNELS="2"\n', 5),
    ("attribute-value", MULTI + '#EXT-X-STREAM-INF:BANDWIDTH=1,STABLE-VARIANT-ID="a b"\nw.m3u8\n', 5),
    ("daterange-cue", MEDIA + CLOCK + SEGMENT + RANGE + ',CUE="PRE,POST"\n', 7),
    ("daterange-changed", MEDIA + CLOCK + SEGMENT + RANGE + '\n#EXT-X-DATERANGE:ID="a",START-DATE="2026-11-20T19:00:00Z"\n', 8),
    ("daterange-clock", MEDIA + SEGMENT + RANGE + "\n", 6),
    ("part-inf", MEDIA + SEGMENT + '#EXT-X-PART:DURATION=1,URI="p"\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI="q"\n', 6),
    ("part-long", LOW + '#EXT-X-PART:DURATION=1.1,URI="p"\n' + SEGMENT, 6),
    ("part-short", LOW + '#EXT-X-PART:DURATION=0.8,URI="p"\n#EXT-X-PART:DURATION=1,URI="q"\n' + SEGMENT, 6),
    ("part-late", LOW + '#EXT-X-PART:DURATION=1,URI="p"\n#EXT-X-KEY:METHOD=NONE\n' + SEGMENT, 7),
    ("hold-back", MEDIA + "#EXT-X-SERVER-CONTROL:CAN-SKIP-UNTIL=23\n" + SEGMENT, 4),
    ("hold-back", MEDIA + "#EXT-X-SERVER-CONTROL:HOLD-BACK=11.9\n" + SEGMENT, 4),
    ("hold-back", LOW.replace("HOLD-BACK=2", "HOLD-BACK=1.9") + SEGMENT, 4),
    ("part-hold-back", MEDIA + "#EXT-X-PART-INF:PART-TARGET=1\n" + SEGMENT, 4),
    ("part-hold-back", MEDIA + "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES\n#EXT-X-PART-INF:PART-TARGET=1\n" + SEGMENT, 4),
    ("skip-dateranges", MEDIA + "#EXT-X-SERVER-CONTROL:CAN-SKIP-DATERANGES=YES\n" + SEGMENT, 4),
    ("hint-repeated", LOW + SEGMENT + '#EXT-X-PRELOAD-HINT:TYPE=MAP,URI="a"\n' * 2, 9),
    ("hint-ended", LOW + SEGMENT + '#EXT-X-PRELOAD-HINT:TYPE=PART,URI="a"\n#EXT-X-ENDLIST\n', 8),
    ("hint-missing", LOW + SEGMENT + '#EXT-X-PART:DURATION=1,URI="p"\n', 8),
    ("report-absolute", MEDIA + SEGMENT + '#EXT-X-RENDITION-REPORT:URI="https://a/b.m3u8"\n', 6),
    # New or corrected in draft-22
    ("indented", MEDIA + "  #EXTINF:4,\n1.ts\n", 4),
    ("indented", MEDIA + "\t#EXT-X-DISCONTINUITY\n" + SEGMENT, 4),
    ("indented", MULTI + " #EXT-X-INDEPENDENT-SEGMENTS\n", 5),
    ("deprecated", MEDIA + "#EXT-X-ALLOW-CACHE:NO\n" + SEGMENT, 4),
    ("deprecated", MULTI + "#EXT-X-STREAM-INF:PROGRAM-ID=1,BANDWIDTH=1\nw.m3u8\n", 5),
    ("version-high", (MEDIA + SEGMENT).replace("VERSION:9", "VERSION:10"), 2),
    ("version-low", '#EXTM3U\n#EXT-X-VERSION:4\n#EXT-X-TARGETDURATION:4\n#EXT-X-KEY:METHOD=SAMPLE-AES,URI="k"\n' + SEGMENT, 4),
    ("version-low", '#EXTM3U\n#EXT-X-VERSION:4\n#EXT-X-SESSION-KEY:METHOD=SAMPLE-AES,URI="k"\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv.m3u8\n', 3),
    ("map-iv", MEDIA + '#EXT-X-KEY:METHOD=AES-128,URI="k"\n#EXT-X-MAP:URI="i.mp4"\n' + SEGMENT, 5),
    ("map-iv", MEDIA + '#EXT-X-MAP:URI="a.mp4"\n' + SEGMENT + '#EXT-X-KEY:METHOD=AES-128,URI="k"\n#EXT-X-MAP:URI="i.mp4"\n' + SEGMENT, 8),
    ("frames-part", LOW + '#EXT-X-I-FRAMES-ONLY\n#EXT-X-PART:DURATION=1,URI="p"\n' + SEGMENT, 7),
    ("steering-pathway", MULTI + '#EXT-X-CONTENT-STEERING:SERVER-URI="s",PATHWAY-ID="a"\n', 5),
    ("steering-pathway", MULTI.replace("BANDWIDTH=1", 'BANDWIDTH=1,PATHWAY-ID="b"') + '#EXT-X-CONTENT-STEERING:SERVER-URI="s",PATHWAY-ID="a"\n', 5),
    ("attribute-value", MULTI + '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="b",CHANNELS="two"\n', 5),
    ("attribute-value", MULTI + '#EXT-X-STREAM-INF:BANDWIDTH=1,SUPPLEMENTAL-CODECS="dvh1.08.07"\nw.m3u8\n', 5),
    ("attribute-value", MULTI + '#EXT-X-STREAM-INF:BANDWIDTH=1,REQ-VIDEO-LAYOUT="STEREO"\nw.m3u8\n', 5),
    ("attribute-value", MULTI + "#EXT-X-STREAM-INF:BANDWIDTH=1,SCORE=-1\nw.m3u8\n", 5),
    ("interstitial-asset", AD + "\n", 7),
    ("interstitial-asset", AD + ',X-ASSET-URI="a",X-ASSET-LIST="b"\n', 7),
    *(
        ("attribute-value", f'{AD},X-ASSET-URI="a",{attribute}\n', 7)
        for attribute in (
            "X-RESUME-OFFSET=x", "X-PLAYOUT-LIMIT=-1", 'X-SNAP="IN,AROUND"', 'X-RESTRICT="PAUSE"', 'X-TIMELINE-OCCUPIES="LINE"',
            'X-TIMELINE-STYLE="BOLD"', 'X-CONTENT-MAY-VARY="MAYBE"', "X-SKIP-CONTROL-OFFSET=a", "X-SKIP-CONTROL-DURATION=a", 'X-SKIP-CONTROL-LABEL-ID=""',
        )
    ),
    *(
        ("preload-attribute", PRELOAD.replace(attribute, "") + "\n", 7)
        for attribute in (',X-URI="a"', ',X-TARGET-ID="b"', ',X-TARGET-CLASS="com.apple.hls.interstitial"', ",DURATION=1")
    ),
    *(
        ("attribute-syntax", f'{AD},X-ASSET-URI="a",{attribute}\n', 7)
        for attribute in ("X-SNAP=IN", 'X-RESUME-OFFSET="1"', "X-TIMELINE-STYLE=HIGHLIGHT", "X-SKIP-CONTROL-LABEL-ID=a")
    ),
    ("attribute-value", MEDIA + CLOCK + SEGMENT + RANGE + ',X-ASSET-URI="a",X-SNAP="AROUND"\n#EXT-X-DATERANGE:ID="a",CLASS="com.apple.hls.interstitial"\n', 7),
    ("preload-cue", MEDIA + CLOCK + SEGMENT + RANGE + ',CUE="PRE"\n' + PRELOAD[PRELOAD.index("#EXT-X-DATERANGE"):] + "\n", 7),
    ("map-iv", MEDIA + f'#EXT-X-KEY:METHOD=AES-128,URI="k"\n#EXT-X-KEY:METHOD=AES-128,URI="l",KEYFORMAT="a",IV=0x{"0" * 32}\n#EXT-X-MAP:URI="i.mp4"\n' + SEGMENT, 6),
    ("tag-value", MEDIA + "#EXT-X-PROGRAM-DATE-TIME:2016-12-31T12:00:60Z\n" + SEGMENT, 4),
    ("preload-cue", PRELOAD + ',CUE="PRE"\n', 7),
    ("line-end", MEDIA + "#EXTINF:4,\r1.ts\n", 4),
    ("line-end", MEDIA + "#EXTINF:4,\r\n1.ts\n#EXTINF:4,\n2.ts\r\r\n", 7),
    ("normalization", MEDIA + "#EXTINF:4,cafe\u0301\n1.ts\n", 4),
    ("normalization", MULTI + '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="A\u030a"\n', 5),
    ("start-beyond", MEDIA + "#EXT-X-START:TIME-OFFSET=4.5\n" + SEGMENT + "#EXT-X-ENDLIST\n", 4),
    ("start-beyond", MEDIA + SEGMENT * 5 + "#EXT-X-START:TIME-OFFSET=-20.5\n", 14),
    ("start-late", MEDIA + "#EXT-X-START:TIME-OFFSET=-8\n" + SEGMENT * 4, 4),
    ("attribute-value", MEDIA + "#EXT-X-START:TIME-OFFSET=soon\n" + SEGMENT * 4, 4),
    ("key-methods", LOW + SEGMENT + DRM_KEY + '#EXT-X-KEY:METHOD=AES-128,URI="k"\n' + PARTS + '#EXT-X-PRELOAD-HINT:TYPE=PART,URI="q"\n', 9),
    ("start-late", MEDIA + "#EXT-X-START:TIME-OFFSET=5\n" + SEGMENT * 4, 4),
    ("key-methods", MEDIA + DRM_KEY + DRM_KEY.replace("SAMPLE-AES-CTR", "SAMPLE-AES").replace("drm.a", "drm.b") + SEGMENT, 5),
    ("key-methods", MEDIA + DRM_KEY + '#EXT-X-KEY:METHOD=AES-128,URI="k"\n' + SEGMENT * 2, 5),
    ("key-methods", MEDIA + DRM_KEY + SEGMENT + '#EXT-X-KEY:METHOD=AES-128,URI="k"\n' + SEGMENT, 7),
    ("key-repeated", MEDIA + DRM_KEY * 2 + SEGMENT, 5),
    ("key-repeated", MEDIA + '#EXT-X-KEY:METHOD=AES-128,URI="k"\n#EXT-X-KEY:METHOD=AES-128,URI="k",KEYFORMAT="identity"\n' + SEGMENT, 5),
    ("part-sum", LOW + PARTS + "#EXTINF:4,\n1.ts\n" + PARTS + '#EXT-X-PRELOAD-HINT:TYPE=PART,URI="q"\n', 7),
    ("part-sum", LOW + PARTS + "#EXTINF:1.4,\n1.ts\n", 7),
    ("daterange-scte35", MEDIA + CLOCK + SEGMENT + RANGE + ",SCTE35-IN=0xFC30\n", 7),
    ("group-members", MULTI + "".join(f'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="{group}",NAME="{name}"\n' for group, name in ("ab", "ac", "db")), 7),
    ("group-members", MULTI + '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="b"\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="c",NAME="B"\n', 6),
]  # fmt: skip

ELSEWHERE = {  # rules that do not depend on the body alone; each has its own test
    *("relay-drops", "relay-changes", "relay-gap", "relay-refuses", "nested"),
    *("content-type", "content-type-missing", "sequence-fell", "window-stood", "target-changed"),
    *("fetch", "self-reference", "import-undefined", "frames-only"),
    *("segment-changed", "event-shrank", "vod-changed"),
}


def as_bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


@pytest.mark.parametrize(
    ("rule", "text", "line"), BROKEN, ids=[f"{n}-{row[0]}" for n, row in enumerate(BROKEN)]
)
def test_a_violated_rule_is_reported_on_its_line(rule, text, line):
    report = check(as_bytes(text))
    found = {(finding.rule, finding.line) for finding in report.findings}

    assert (rule, line) in found
    # There are no other findings, except consequences of this one and about versions.
    others = {finding.rule for finding in report.findings} - {rule}
    assert others <= FOLLOW.get(rule, set()) | INCIDENTAL


INCIDENTAL = {"version-missing", "version-needed"}
FOLLOW = {
    "tag-value": {"version-low", "byterange", "tag-repeated"},
    "tags-mixed": {"variants-none", "extinf"},
    "version-needed": {"variants-none"},
    "attribute-missing": {"steering-pathway", "key-none", "variants-none", "last-line", "daterange-clock"},
    "attribute-value": {"attribute-syntax", "steering-pathway", "version-low", "score-some"},
    "daterange-next": set(),
    "group": set(),
    "line-length": {"encoding"},
    "size": {"last-line", "segment-uri"},
    "target-duration": set(),
    "variable-undefined": set(),
    # The parts in these rows are shorter than their segment.
    **{key: {"part-sum"} for key in ("sequence-late", "byterange", "gap-part", "part-long", "part-short", "part-late", "frames-part")},
}  # fmt: skip


def test_every_rule_has_a_playlist_that_breaks_it():
    assert {rule for rule, _, _ in BROKEN} | ELSEWHERE == set(RULES)


GOOD = [
    MEDIA + SEGMENT,
    MEDIA + SEGMENT + "#EXT-X-ENDLIST\n",
    (MEDIA + SEGMENT).replace("\n", "\r\n"),
    MEDIA + '# a comment\n\n#EXT-X-VENDOR:WHATEVER="é"\n#EXTINF:4.4,title, with a comma\n1.ts?a=1#t=1\n',
    MEDIA + "#EXT-X-BYTERANGE:9@0\n#EXTINF:4,\n1.ts\n#EXT-X-BYTERANGE:9\n#EXTINF:4,\n1.ts\n",
    MEDIA + f'#EXT-X-KEY:METHOD=AES-128,URI="k?a=1,2",IV=0x{"aF" * 16}\n#EXT-X-MAP:URI="i.mp4",BYTERANGE="9@0"\n' + SEGMENT,
    MEDIA + '#EXT-X-I-FRAMES-ONLY\n#EXT-X-MAP:URI="i.mp4"\n' + SEGMENT,
    MEDIA + '#EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://key",KEYFORMAT="com.apple.streamingkeydelivery",KEYFORMATVERSIONS="1/2"\n' + SEGMENT,
    MEDIA + '#EXT-X-DEFINE:NAME="h",VALUE="https://a"\n#EXTINF:4,\n{$h}/1.ts\n',
    MEDIA.replace("VERSION:9", "VERSION:11") + '#EXT-X-DEFINE:QUERYPARAM="q"\n#EXT-X-DEFINE:IMPORT="i"\n#EXTINF:4,\n{$i}/1.ts?q={$q}\n',
    MEDIA + CLOCK + SEGMENT + RANGE + ',CLASS="c",CUE="PRE,ONCE",END-ON-NEXT=YES,X-ASSET-URI="ad.m3u8"\n',
    MEDIA + CLOCK + SEGMENT + RANGE + '\n#EXT-X-DATERANGE:ID="a",END-DATE="2026-11-20T18:00:08",DURATION=8\n',
    MEDIA + CLOCK + SEGMENT + RANGE + ',CLASS="c",DURATION=8\n#EXT-X-DATERANGE:ID="b",CLASS="c",START-DATE="2026-11-20T18:00:08Z",END-ON-NEXT=YES\n'
    '#EXT-X-DATERANGE:ID="d",CLASS="e",START-DATE="2026-11-20T18:00:00Z",DURATION=99\n#EXT-X-DATERANGE:ID="f",CLASS="e",START-DATE="2026-11-20T18:00:08Z"\n'
    '#EXT-X-DATERANGE:ID="g",CLASS="c",START-DATE="9999-12-31T23:59:59Z",DURATION=1000\n',
    AD + ',X-ASSET-LIST="l.json",X-RESUME-OFFSET=-1.5,X-PLAYOUT-LIMIT=9,X-SNAP="OUT,IN",X-RESTRICT="SKIP,JUMP",X-TIMELINE-OCCUPIES="RANGE"'
    ',X-TIMELINE-STYLE="PRIMARY",X-CONTENT-MAY-VARY="YES",X-SKIP-CONTROL-OFFSET=1,X-SKIP-CONTROL-DURATION=2,X-SKIP-CONTROL-LABEL-ID="a"\n',
    AD + ',X-ASSET-URI="a"\n#EXT-X-DATERANGE:ID="a",X-SNAP="IN"\n',
    AD + ',X-ASSET-URI="a"\n#EXT-X-CUE-OUT:PROGRAM-ID=5\n',
    MULTI + '#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="b"\n',
    MEDIA + "#EXT-X-SERVER-CONTROL:CAN-SKIP-UNTIL=24\n" + SEGMENT,
    MEDIA + "#EXT-X-PROGRAM-DATE-TIME:2017-01-01T08:59:60+09:00\n" + SEGMENT,
    MEDIA + "#EXT-X-PROGRAM-DATE-TIME:20161231T235960Z\n" + SEGMENT,
    MULTI + '#EXT-X-IMAGE-STREAM-INF:BANDWIDTH=1,URI="i.m3u8"\n',
    MULTI + "#EXT-X-START:TIME-OFFSET=900\n",
    MULTI + "".join(f'#EXT-X-MEDIA:TYPE={kind},GROUP-ID="{group}",NAME="{name}"\n' for kind, group, name in (
        ("AUDIO", "a", "b"), ("AUDIO", "a", "c"), ("AUDIO", "d", "c"), ("AUDIO", "d", "b"), ("VIDEO", "a", "e"),
    )),
    MULTI + "".join(f'#EXT-X-MEDIA:TYPE=VIDEO,GROUP-ID="{name}",NAME="{name}"\n' for name in "ab"),
    MEDIA + "#EXT-X-START:TIME-OFFSET=4\n" + SEGMENT * 4, MEDIA + "#EXT-X-START:TIME-OFFSET=0\n" + SEGMENT,
    MEDIA.replace(":4", ":5") + "#EXT-X-START:TIME-OFFSET=12.012\n" + "#EXTINF:4.004,\n1.ts\n" * 3 + "#EXT-X-ENDLIST\n",
    MEDIA + "#EXT-X-START:TIME-OFFSET=20\n#EXT-X-PLAYLIST-TYPE:VOD\n" + SEGMENT * 5,
    LOW + "#EXT-X-START:TIME-OFFSET=5\n" + SEGMENT * 4 + PARTS + '#EXT-X-PRELOAD-HINT:TYPE=PART,URI="q"\n',
    LOW + "#EXT-X-MEDIA-SEQUENCE:7\n" + PARTS + SEGMENT, LOW + SEGMENT + PARTS + SEGMENT,
    MEDIA + '#EXT-X-KEY:METHOD=NONE\n#EXT-X-KEY:METHOD=AES-128,URI="k"\n' + SEGMENT,
    MEDIA + "#EXT-X-MEDIA-SEQUENCE:7\n" + CLOCK + SEGMENT + RANGE + ",SCTE35-IN=0xFC30\n",
    MEDIA + "#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n" + CLOCK + SEGMENT + RANGE + ",SCTE35-IN=0xFC30\n",
    MEDIA + "#EXT-X-START:TIME-OFFSET=-12\n" + SEGMENT * 4,
    MEDIA + "#EXT-X-START:TIME-OFFSET=-1\n" + SEGMENT * 4 + "#EXT-X-ENDLIST\n",
    MEDIA + "#EXT-X-START:TIME-OFFSET=99\n#EXT-X-SKIP:SKIPPED-SEGMENTS=30\n" + SEGMENT,
    MEDIA + DRM_KEY + DRM_KEY.replace("drm.a", "drm.b") + SEGMENT + DRM_KEY + SEGMENT,
    MEDIA + DRM_KEY + SEGMENT + "#EXT-X-KEY:METHOD=NONE\n" + SEGMENT + '#EXT-X-KEY:METHOD=AES-128,URI="k"\n' + SEGMENT,
    LOW + PARTS + "#EXTINF:2.4,\n1.ts\n", LOW + PARTS + "#EXTINF:1.6,\n1.ts\n",
    MEDIA + CLOCK + SEGMENT + RANGE + ',SCTE35-OUT=0xFC30\n#EXT-X-DATERANGE:ID="a",SCTE35-IN=0xFC30\n',
    MEDIA + "#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n" + SEGMENT + RANGE + ',CLASS="com.apple.hls.preload"\n',
    PRELOAD + "\n", PRELOAD.replace("DURATION=1", 'END-DATE="2026-11-20T18:00:01Z"') + "\n",
    "#EXTM3U\n#EXT-X-VERSION:1\n#EXT-X-TARGETDURATION:4\n#EXT-X-GAP\n" + SEGMENT,
    MEDIA + f'#EXT-X-KEY:METHOD=AES-128,URI="k",IV=0x{"0" * 32}\n#EXT-X-MAP:URI="i.mp4"\n#EXT-X-KEY:METHOD=NONE\n#EXT-X-MAP:URI="j.mp4"\n' + SEGMENT,
    MEDIA + CLOCK.replace("2026-11-20T18:00:00", "2016-12-31T23:59:60") + SEGMENT,
    MULTI + '#EXT-X-CONTENT-STEERING:SERVER-URI="data:application/json,{}",PATHWAY-ID="."\n',
    MULTI.replace("VERSION:9", "VERSION:12") + '#EXT-X-STREAM-INF:BANDWIDTH=1,SUPPLEMENTAL-CODECS="dvh1.08.07/db4h, dvh1.08.07/db1p",REQ-VIDEO-LAYOUT="CH-STEREO/PROJ-HEQU,CH-MONO"\nw.m3u8\n',
    MULTI + "".join(f'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="{value}",CHANNELS="{value}"\n' for value in ("2", "6", "16/JOC", "2/-/BINAURAL", "2/AA,BB/IMMERSIVE,DOWNMIX")),
    MEDIA + "#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n" + SEGMENT + RANGE + "\n",
    MEDIA + "#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-DISCONTINUITY-SEQUENCE:1\n#EXT-X-DISCONTINUITY\n#EXT-X-GAP\n" + SEGMENT,
    MEDIA + "#EXT-X-SERVER-CONTROL:CAN-SKIP-UNTIL=24,CAN-SKIP-DATERANGES=YES,HOLD-BACK=12\n" + SEGMENT,
    LOW + '#EXT-X-PART:DURATION=0.85,URI="p"\n#EXT-X-PART:DURATION=0.2,URI="q",INDEPENDENT=YES\n#EXT-X-PART:DURATION=0.1,URI="r"\n#EXTINF:1.15,\n1.ts\n'
    + '#EXT-X-PART:DURATION=0.1,URI="s"\n#EXT-X-PART:DURATION=1,URI="t",GAP=YES\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI="u"\n#EXT-X-RENDITION-REPORT:URI="../v.m3u8",LAST-MSN=1,LAST-PART=0\n',
    MULTI,
    MULTI + '#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-START:TIME-OFFSET=-4.5,PRECISE=YES\n#EXT-X-CONTENT-STEERING:SERVER-URI="s.json"\n',
    MULTI + '#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,URI="i.m3u8"\n#EXT-X-SESSION-KEY:METHOD=AES-128,URI="k",KEYFORMAT="identity"\n',
    MULTI + '#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID="cc",NAME="e",INSTREAM-ID="SERVICE63"\n',
]  # fmt: skip


@pytest.mark.parametrize("text", GOOD)
def test_a_valid_playlist_has_no_findings(text):
    assert check(text.encode()).findings == ()


# Playlists like Dailymotion's: no version, subtitles after the variants, fragments, vendor attributes.
DAILYMOTION = (
    ("#EXTM3U\n"
    '#EXT-X-STREAM-INF:BANDWIDTH=836280,CODECS="avc1.42000d,mp4a.40.2",RESOLUTION=512x288,NAME="288"\n'
    "https://vod3.cf.dmcdn.net/sec2(aB-_9)/video/612/345/x_mp4_h264_aac_ld.m3u8#cell=cf4\n"
    '#EXT-X-STREAM-INF:BANDWIDTH=460560,CODECS="avc1.42000d,mp4a.40.2",RESOLUTION=320x184,NAME="240@60",PROGRAM-ID=1,PROGRESSIVE-URI="https://vod3.cf.dmcdn.net/sec(aB)/x.mp4"\n'
    "https://vod3.cf.dmcdn.net/sec2(aB-_9)/video/612/345/x_mp4_h264_aac_l2.m3u8#cell=cf4\n"
    '#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="subs",NAME="English",DEFAULT=NO,AUTOSELECT=YES,LANGUAGE="en",ASSOC-LANGUAGE="en",URI="https://www.dailymotion.com/cdn/subtitle/x_en.m3u8?sec=aB"\n'),
    "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXTINF:10.000,\n../../../frag(1)/video/612/345/x.ts\n#EXT-X-ENDLIST\n",
    '#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MAP:URI="init.mp4"\n#EXTINF:3.840,\n1.m4s\n#EXT-X-ENDLIST\n',
    f'#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:812\n#EXT-X-KEY:METHOD=AES-128,URI="https://live.eu.cf.dmcdn.net/k",IV=0x{"0" * 32}\n#EXTINF:3.840,\n812.ts\n',
)  # fmt: skip


@pytest.mark.parametrize("text", DAILYMOTION)
def test_playlists_like_dailymotions_have_no_error(text):
    report = check(
        text.encode(), base="https://cdndirector.dailymotion.com/cdn/manifest/video/x.m3u8"
    )

    assert report.is_valid
    assert {finding.rule for finding in report.findings} <= {"version-missing", "deprecated"}


def test_a_report_distinguishes_invalid_unplayable_and_not_a_playlist():
    challenge, empty, odd = (
        check(text.encode()) for text in ("<html>", "#EXTM3U\n", MEDIA + "1.ts\n")
    )

    assert (challenge.is_playlist, empty.is_playlist, odd.is_playlist) == (False, True, True)
    assert (empty.unplayable, odd.unplayable, odd.is_valid) == (("empty",), (), False)


def test_findings_per_rule_are_limited():
    report = check(("#EXTM3U\n#EXT-X-TARGETDURATION:4\n" + "1.ts\n" * 40_000).encode())

    assert len(report.findings) == MAX_FINDINGS_PER_RULE


def test_a_finding_contains_no_control_characters_and_is_short():
    report = check(
        (MULTI + f'#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO="\x1b[2J{"a" * 500}"\nw.m3u8\n').encode()
    )
    message = next(finding.message for finding in report.findings if finding.rule == "group")

    assert "\x1b" not in message and len(message) < 120


def test_a_wrong_content_type_is_a_warning():
    text = (MEDIA + SEGMENT).encode()

    def list_rules(content_type: str) -> set[str]:
        report = check(text, content_type=content_type)
        assert report.is_valid
        return {finding.rule for finding in report.findings} - INCIDENTAL

    assert list_rules("application/x-mpegURL") == set()
    assert list_rules("text/html") == {"content-type"}
    assert list_rules("") == {"content-type-missing"}


def test_a_multivariant_playlist_that_refers_to_itself_is_an_error():
    base = "https://a.example/b/m.m3u8?sig=1"
    for uri in (base, "/b/m.m3u8?sig=1", "m.m3u8?sig=1", "../b/./m.m3u8?sig=1"):
        report = check(MULTI.replace("v.m3u8", uri).encode(), base=base)
        assert ("self-reference", 4) in {(it.rule, it.line) for it in report.findings}
    for line in ('CONTENT-STEERING:SERVER-URI="{}"', 'SESSION-DATA:DATA-ID="a",URI="{}"'):
        text = f"{MULTI}#EXT-X-{line.replace('{}', base)}\n"
        assert check(text.encode(), base=base).is_valid
    assert check(MULTI.encode(), base="https://a.example/m.m3u8").is_valid


@pytest.mark.parametrize(
    "line",
    [
        'MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="b",CHANNELS="{}"',
        'STREAM-INF:BANDWIDTH=1,SUPPLEMENTAL-CODECS="{}"',
        'STREAM-INF:BANDWIDTH=1,REQ-VIDEO-LAYOUT="{}"',
    ],
)
@pytest.mark.parametrize("value", ["", " ", "/", "a b", "x,", "2/", "2//JOC", "CH-", "é"])
def test_malformed_values_of_attributes_are_errors(line, value):
    text = f"{MULTI}#EXT-X-{line.replace('{}', value)}\nw.m3u8\n"

    assert "attribute-value" in {finding.rule for finding in check(text.encode()).findings}


def test_uris_are_checked_after_substitution_and_resolution():
    """Variables are substituted, and the URI is resolved against the playlist's URL."""
    checked_urls: list[str] = []

    def check_url(url: str) -> str:
        checked_urls.append(url)
        return "its host is evil.example" if "evil" in url else ""

    text = (
        MEDIA.replace("VERSION:9", "VERSION:11")
        + '#EXT-X-DEFINE:QUERYPARAM="h"\n#EXTINF:4,\n//{$h}/1.ts\n#EXTINF:4,\n../2.ts?x=1#f\n#EXTINF:4,\n//[broken\n'
    )
    report = check(text.encode(), base="https://a/b/c.m3u8?h=evil.example", why_not=check_url)

    assert checked_urls == ["https://evil.example/1.ts", "https://a/2.ts?x=1"]
    assert [(finding.rule, finding.line) for finding in report.findings] == [
        ("uri", 6),
        ("uri", 10),
    ]


def test_values_with_unknown_variables_are_not_checked():
    text = MEDIA + '#EXT-X-DEFINE:IMPORT="a"\n#EXT-X-MAP:URI="{$a}:x",BYTERANGE="{$a}"\n' + SEGMENT

    assert check(text.encode()).findings == ()


def test_imports_are_checked_if_the_variables_of_the_multivariant_playlist_are_known():
    text = MEDIA + '#EXT-X-DEFINE:IMPORT="a"\n#EXTINF:4,\n{$a}/1.ts\n'

    assert check(text.encode(), imported={"a": "b"}).findings == ()
    assert check(text.encode(), imported={"a": None}).findings == ()
    (finding,) = check(text.encode(), imported={"b": "a"}).findings
    assert (finding.rule, finding.line) == ("import-undefined", 4)
    both = text.replace('"a"', '"a",NAME="c"')
    found = [finding.rule for finding in check(both.encode(), imported={}).findings]
    assert found == ["define", "variable-undefined"]


def test_the_model_has_the_variables_and_the_i_frame_playlists():
    model = read_model(
        MULTI + '#EXT-X-DEFINE:NAME="p",VALUE="x"\n#EXT-X-DEFINE:QUERYPARAM="none"\n'
        '#EXT-X-I-FRAME-STREAM-INF:URI="{$p}/f.m3u8"\n#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=x\n',
        "https://a/",
    )

    assert model.variables == {"p": "x", "none": None}
    assert [child.url for child in model.frames] == ["https://a/x/f.m3u8"]


class TestReloads:
    """Rules that compare two versions of a live playlist."""

    def read(self, first: int, *, target: int = 4, end: str = "") -> Playlist:
        text = self.text(first, "1.ts", end).replace(":4\n", f":{target}\n", 1)
        return read_model(text, "https://a/")

    def text(self, first: int, uri: str, end: str = "") -> str:
        segments = SEGMENT.replace("1.ts", uri) * 3
        return f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:{first}\n{segments}{end}"

    def rules(self, before: Playlist, after: Playlist, seconds: float = 6) -> list[str]:
        return [finding.rule for finding in compare(before, after, seconds=seconds)]

    def test_a_sliding_window_has_no_findings(self):
        assert self.rules(self.read(1), self.read(2)) == []
        assert self.read(1).is_live

    def test_a_falling_sequence_a_stalled_window_and_a_new_target_are_reported(self):
        assert self.rules(self.read(2), self.read(1)) == ["sequence-fell"]
        assert self.rules(self.read(1), self.read(1)) == ["window-stood"]
        assert self.rules(self.read(1), self.read(2, target=5)) == ["target-changed"]

    def test_a_segment_with_another_name_is_reported(self):
        before = self.read(1)
        changed = read_model(self.text(2, "2.ts"), "https://a/")
        assert self.rules(before, changed) == ["segment-changed"]
        assert self.rules(changed, self.read(1)) == ["sequence-fell"]
        for same in ("1.ts?sig=2", "sec2(b)/1.ts", "https://b/1.ts#cell=2"):
            assert self.rules(before, read_model(self.text(2, same), "https://a/")) == []

    def test_a_segment_without_a_valid_uri_counts(self):
        texts = ("https://[\n#EXTINF:4,\n2.ts", "2.ts\n#EXTINF:4,\n3.ts")
        before, after = (
            read_model(
                self.text(n, "x").replace(
                    SEGMENT.replace("1.ts", "x") * 3, f"#EXTINF:4,\n{uris}\n"
                ),
                "https://a/",
            )
            for n, uris in enumerate(texts)
        )
        assert self.rules(before, after) == []
        unreadable = read_model(self.text(0, "a\x00.ts"), "https://a/")
        assert self.rules(unreadable, self.read(0)) == []

    @pytest.mark.parametrize(
        ("before", "after", "rules"),
        [
            ((1, "EVENT"), (2, "EVENT"), ["event-shrank"]),
            ((1, "EVENT"), (2, ""), ["event-shrank"]),
            ((1, ""), (2, "EVENT"), []),
            ((1, "VOD"), (1, "VOD"), ["window-stood"]),
        ],
    )
    def test_an_event_playlist_keeps_its_segments(self, before, after, rules):
        read = (
            read_model(self.text(first, "1.ts", f"#EXT-X-PLAYLIST-TYPE:{kind}\n"), "https://a/")
            for first, kind in (before, after)
        )
        assert self.rules(*read) == rules

    def test_a_shortened_event_and_a_changed_vod_are_reported(self):
        for kind, rule in (("EVENT", "event-shrank"), ("VOD", "vod-changed")):
            text = self.text(1, "1.ts", f"#EXT-X-PLAYLIST-TYPE:{kind}\n")
            before, after = (
                read_model(it, "https://a/") for it in (text, text.replace(SEGMENT, "", 1))
            )
            assert self.rules(before, after) == [rule]

    def test_a_window_may_stand_still_before_its_deadline_or_at_the_end(self):
        assert self.rules(self.read(1), self.read(1), seconds=5) == []
        assert self.rules(self.read(1), self.read(1, end="#EXT-X-ENDLIST\n")) == []


def test_the_model_replaces_exceptions_of_m3u8():
    for text in ("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=x\na\n", "#EXTM3U\n#EXTINF:x,\na\n"):
        with pytest.raises(PlaylistUnreadable):
            read_model(text, "https://a/")


# Label and rule of the corpus rows that the check classifies differently; see docs/hls.md.
EXCEPTIONS = {
    (True, "variants-none"), (True, "hold-back"), (True, "part-inf"),
    (False, "score-some"), (False, "01_EXT-X-SERVER-CONTROL"), (False, "03_EXT-X-PART"),
}  # fmt: skip


@pytest.fixture
def corpus() -> Path:
    """Return a folder of third-party playlists, which are not part of this project."""
    folder = ROOT.parent / "shared" / "hls-corpus"
    if not folder.exists():
        pytest.skip("the corpus is not beside this checkout")
    return folder


def test_the_labelled_corpus_is_classified_as_labelled(corpus):
    """docs/hls.md lists the exceptions, each with its section of the specification."""
    differ = set()
    for number, row in enumerate(json.loads((corpus / "labelled.json").read_text())):
        report = check(row["text"].encode())
        if report.is_valid != row["valid"]:
            rules = {
                finding.rule
                for finding in report.findings
                if row["valid"] == (finding.severity != "warning")
            }
            because = rules or {row["section"]}
            differ.add(number)
            assert {(row["valid"], rule) for rule in because} <= EXCEPTIONS, (number, row, because)

    rows = re.findall(r"^\| ([\d, ]+) \|", (ROOT / "docs" / "hls.md").read_text(), re.MULTILINE)
    assert differ == {int(number) for row in rows for number in row.split(",")}


def test_every_playlist_of_the_corpus_can_be_checked_and_modelled(corpus):
    files = [path for path in corpus.rglob("*") if path.is_file() and path.suffix != ".md"]
    for path in files:
        report = check(path.read_bytes())
        try:
            read_model(report.text, "https://a/")
        except PlaylistUnreadable:
            assert not report.is_valid or "EXT-X-I-FRAME" in report.text

    assert len(files) > 100


# m3u8 skips segments without EXTINF; the relay gives them the target duration.
WITHOUT_DURATIONS = {
    "liveMissingSegmentDuration.m3u8",
    "missingExtinf.m3u8",
    "missingSegmentDuration.m3u8",
    "multipleTargetDurations.m3u8",
}


def test_a_relayed_playlist_of_the_corpus_has_the_same_segments(corpus):
    compared = 0
    for path in corpus.rglob("*.m3u8"):
        body = path.read_bytes()
        if not is_playlist(body):
            continue
        try:
            before = read_model(body.decode(errors="replace"), "https://a/")
            after = read_model(rewrite(body, hosts=AnyHost()), "https://a/")
        except (PlaylistUnreadable, Refusal):
            continue
        if path.name in WITHOUT_DURATIONS:
            assert len(before.segments) < len(after.segments)
            continue
        compared += 1
        assert len(before.segments) == len(after.segments), path.name
        assert max(0, before.target_duration) == after.target_duration, path.name
        assert len(before.variants) == len(after.variants), path.name

    assert compared > 60


@pytest.mark.parametrize(("parameter", "is_defined"), [("q", True), ("none", False)])
def test_query_parameters_are_read_from_the_playlists_url(parameter, is_defined):
    text = f'{MEDIA}#EXT-X-DEFINE:QUERYPARAM="{parameter}"\n{SEGMENT}'
    report = check(text.encode(), base="https://a.example/m.m3u8?q=1")
    assert report.is_checked
    assert ("define" not in {finding.rule for finding in report.findings}) is is_defined


def test_a_playlist_with_too_many_lines_is_not_checked():
    report = check((MEDIA + SEGMENT * MAX_LINES).encode())
    assert (report.is_playlist, report.is_checked, report.kind) == (True, False, None)


def test_inspect_names_the_lines_that_the_relay_changes():
    text = (
        f'{MEDIA}# a comment\n#EXTINF:-1,\n1.ts\n#EXT-X-BYTERANGE:x\n#EXTINF:4,\n2.ts\n#EXT-X-START:TIME-OFFSET="1"x\n'
        "#EXT-X-KEY:METHOD=AES-128\n#EXTINF:4,\n3.ts\n"
    )
    findings = find_relay_changes(text.encode(), "https://a.example/m.m3u8")

    assert [(finding.rule, finding.line) for finding in findings] == [
        ("relay-drops", 4),
        ("relay-changes", 5),
        ("relay-drops", 7),
        ("relay-changes", 10),
        ("relay-drops", 11),
        ("relay-gap", 13),
    ]
    assert find_relay_changes(b"<html>") == ()
    assert find_relay_changes((MEDIA + SEGMENT).encode()) == ()


def test_inspect_says_why_the_relay_refuses_a_playlist():
    hosts = AllowedHosts(["a.example"], plain_http=False)
    text = f"{MEDIA}#EXTINF:4,\nhttps://b.example/1.ts\n"
    (finding,) = find_relay_changes(text.encode(), "https://a.example/m.m3u8", hosts)

    assert finding.rule == "relay-refuses" and "b.example" in finding.message
    assert find_relay_changes(text.encode()) == ()


def test_the_model_fills_variables_in_and_leaves_invalid_uris_out():
    text = (
        '#EXTM3U\n#EXT-X-DEFINE:NAME="p",VALUE="m"\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{$p}.m3u8\n'
        "#EXT-X-STREAM-INF:BANDWIDTH=2\nhttps://[\n"
    )
    (variant,) = read_model(text, "https://a.example/").variants

    assert variant.url == "https://a.example/m.m3u8"
