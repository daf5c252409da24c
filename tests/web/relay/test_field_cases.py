"""Streams from public bug reports, which players play directly, play through the relay."""

import pytest
from field_cases import FOLDER, SEGMENT, load_cases, run_case, skip_without_cases
from relay_stack import find_relay_paths

MASTER = '#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=246000,CODECS="avc1.42c00c,mp4a.40.2"\nm.m3u8\n'
MEDIA = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXTINF:2.000,\n{uri}\n#EXT-X-ENDLIST\n"


async def play_through(edge, cdn, added: str = "") -> list[str]:
    """Fetch everything that a player fetches; return the paths of the CDN that were requested."""
    query = f"?{added}" if added else ""
    first = await edge.get(f"{edge.play_url()}&{added}")
    assert first.status == 200, first.body
    queue = [(first.body, "/play/x8demo1.m3u8")]
    while queue:
        body, path = queue.pop()
        assert b"127.0.0.1" not in body and b"sig=" not in body and FOLDER.encode() not in body
        for child in find_relay_paths(body, path):
            missing = cdn.missing
            response = await edge.get(f"{edge.player}{child}{query}")
            if cdn.missing > missing:
                assert response.reason == "stream-unavailable"
                continue
            assert response.status == 200, (child, response.body)
            if child.endswith("/playlist.m3u8"):
                queue.append((response.body, child))
            elif not child.endswith(".json"):
                assert response.body == SEGMENT
    return cdn.paths


@pytest.mark.parametrize(
    "case",
    skip_without_cases([pytest.param(case, id=case["id"]) for case in load_cases()], names=1),
)
async def test_a_stream_from_a_public_bug_report_plays(sandbox, case):
    async with run_case(sandbox, case) as (edge, cdn):
        paths = await play_through(edge, cdn, case["player_adds"])

    assert set(case["cdn_must_be_asked"]) <= set(paths)


@pytest.mark.parametrize(
    ("files", "asked"),
    [
        ({"master.m3u8": {"body": MASTER, "encoding": "br"}}, "/0.ts"),
        ({"m.m3u8": {"body": MEDIA.format(uri="0.ts"), "type": "text/html"}}, "/0.ts"),
        ({"m.m3u8": {"body": MEDIA.format(uri="0.ts"), "type": "", "encoding": "gzip"}}, "/0.ts"),
        ({"m.m3u8": "\r\n \ufeff".strip("\ufeff") + MEDIA.format(uri="0.ts")}, "/0.ts"),
        ({"m.m3u8": MEDIA.format(uri="ünïcode | [1].ts")}, "/%C3%BCn%C3%AFcode%20%7C%20[1].ts"),
        ({"m.m3u8": MEDIA.format(uri="a/../b;v=1/./0.ts?x=y z#t=1")}, "/b;v=1/0.ts"),
        ({"m.m3u8": MEDIA.format(uri="\t0.ts \t")}, "/0.ts"),
        ({"m.m3u8": MEDIA.format(uri="0.ts").replace("#EXTINF", "  #EXTINF")}, "/0.ts"),
        ({"m.m3u8": MEDIA.format(uri="0.ts").replace("\n", "\r")}, "/0.ts"),
        ({"m.m3u8": MEDIA.format(uri="0.ts") + "\x0c\n</html>\n"}, "/0.ts"),
        ({"m.m3u8": "#" + "x" * 9000 + "\n" + MEDIA.format(uri="0.ts")}, None),
        ({"m.m3u8": MEDIA.format(uri="0.ts").replace(",\n", ',{"t":"' + "x" * 9000 + '"}\n')}, "/0.ts"),
        ({"m.m3u8": MEDIA.format(uri='0.ts\n#EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://a",KEYFORMAT="b')}, "/0.ts"),
    ],
)  # fmt: skip
async def test_other_streams_of_these_kinds_play(sandbox, files, asked):
    """If no player could play a stream, it is refused."""
    case = {
        "start": "master.m3u8",
        "files": {"master.m3u8": MASTER, "m.m3u8": MEDIA.format(uri="0.ts"), **files},
    }
    async with run_case(sandbox, case) as (edge, cdn):
        if asked is not None:
            assert asked in await play_through(edge, cdn, "_=1&CMCD=sid%3D%22a%22&_HLS_msn=x")
            return
        (child,) = find_relay_paths((await edge.play()).body)
        assert (await edge.get(edge.player + child)).reason == "platform-bad-response"
