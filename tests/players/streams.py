"""Streams that the players play directly and through the relay, with real media."""

import re
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7
from field_cases import Segments, load_cases
from support import ROOT

MEDIA = ROOT / "proxy" / "sandbox" / "media"
SANDBOX_VIDEOS = ("x8demo1", "x8live1", "x8live2", "x8keys1", "x8fmp41")
KEY, IV = b"0123456789abcdef", bytes(15) + b"\x01"  # of the encrypted cases

INF = '#EXT-X-STREAM-INF:BANDWIDTH=246000,CODECS="avc1.4d400d,mp4a.40.2",RESOLUTION=320x180'
MASTER = f"#EXTM3U\n{INF}\nm.m3u8\n"
HEAD = "#EXTM3U\n#EXT-X-VERSION:4\n#EXT-X-TARGETDURATION:2\n#EXT-X-PLAYLIST-TYPE:VOD\n"
SEGMENTS = "#EXTINF:2.000,\n0.ts\n#EXTINF:2.000,\n1.ts\n"
END = "#EXT-X-ENDLIST\n"
PLAIN = HEAD + SEGMENTS + END


def build_case(media: Any = PLAIN, master: Any = MASTER, **files: Any) -> dict[str, Any]:
    return {"start": "master.m3u8", "files": {"master.m3u8": master, "m.m3u8": media, **files}}


def find_segment(path: str) -> bytes:
    """Return the media of a segment: the last digit in its name selects the file."""
    if path.endswith(("/init.mp4", ".m4s")):
        name = path.rpartition("/")[2].partition("?")[0]
        return (MEDIA / "fmp4_180" / name).read_bytes()
    numbers = [int(digit) % 6 for digit in re.findall(r"\d", path.partition("?")[0])]
    return (MEDIA / "vod_180" / f"{(numbers or [0])[-1]}.ts").read_bytes()


def encrypt_segment(path: str) -> bytes:
    padder, encryptor = PKCS7(128).padder(), Cipher(AES128(KEY), CBC(IV)).encryptor()
    padded = padder.update(find_segment(path)) + padder.finalize()
    return encryptor.update(padded) + encryptor.finalize()


def select_segments(case: dict[str, Any]) -> Segments:
    return encrypt_segment if "METHOD=AES-128" in str(case["files"]) else find_segment


SIZES = [len(find_segment(f"/{number}.ts")) for number in range(2)]
# Streams of our own; those of the public reports are in `field_cases`.
OWN_STREAMS: dict[str, dict[str, Any]] = {
    "plain": build_case(),
    "byte ranges": build_case(
        HEAD + f"#EXTINF:2.000,\n#EXT-X-BYTERANGE:{SIZES[0]}@0\n0.ts\n" + END
    ),
    "fragmented MP4 with a map": build_case(
        f'{HEAD.replace("VERSION:4", "VERSION:7")}#EXT-X-MAP:URI="init.mp4"\n'
        f"#EXTINF:2.000,\n0.m4s\n#EXTINF:2.000,\n1.m4s\n{END}"
    ),
    "names with a query": build_case(PLAIN.replace(".ts", ".ts?sec=1&exp=9")),
    "absolute paths": build_case(PLAIN.replace("\n0.ts", "\n/case/0.ts")),
    "no EXTINF": build_case(HEAD + "0.ts\n1.ts\n" + END),
    "CR line ends": build_case(PLAIN.replace("\n", "\r")),
    "indented": build_case(PLAIN.replace("#EXTINF", "  #EXTINF").replace("0.ts", " 0.ts ")),
    "br without request": build_case(master={"body": MASTER, "encoding": "br"}),
    "playlist as text/html": build_case({"body": PLAIN, "type": "text/html"}),
    "tags of vendors": build_case(
        f"{HEAD}#EXT-X-CUE-OUT:30\n#EXT-OATCLS-SCTE35:/DAlAAAAAAAAAP/wFAUAAAABf+/+//4AAA==\n"
        f'#EXT-X-DATERANGE:ID="1",START-DATE="2026-11-28T10:00:00Z",SCTE35-OUT=0xFC302500\n'
        f"#EXT-X-PREFETCH:9.ts\n{SEGMENTS}{END}"
    ),
    "unknown attributes with URLs": build_case(
        master=MASTER.replace("BANDWIDTH", 'X-LOGO="https://other.example/l.png",BANDWIDTH')
    ),
    "discontinuity and date": build_case(
        f"{HEAD}#EXT-X-PROGRAM-DATE-TIME:2026-11-28T10:00:00.000Z\n#EXTINF:2.000,\n0.ts\n"
        f"#EXT-X-DISCONTINUITY\n#EXTINF:2.000,title, with commas\n1.ts\n{END}"
    ),
}


def list_cases() -> dict[str, dict[str, Any]]:
    """Return the streams of our own and those of the public reports, by name."""
    return {**OWN_STREAMS, **{case["id"]: case for case in load_cases()}}
