"""No player's parser finds a URL past the relay, even in lines that players read differently."""

import pytest
from support import skip_or_fail

from fuzz.relay_readers import (
    MODULES,
    find_stranger,
    find_strangers,
    find_strangers_of_ffmpeg,
    generate_confusing,
    read_in_node,
    read_with_ffmpeg,
    read_with_m3u8,
)

COUNT, FFMPEG_COUNT = 400, 10
READERS = ("hls.js", "m3u8-parser", "Shaka")


@pytest.fixture(autouse=True)
def node(component) -> None:
    component("node")
    if not MODULES.exists():
        skip_or_fail("npm ci was not run in npm/")


def test_no_parser_finds_a_url_past_the_relay():
    assert list(find_strangers(COUNT)) == []


async def test_ffmpeg_requests_no_url_past_the_relay(component):
    component("ffmpeg")

    assert await find_strangers_of_ffmpeg(FFMPEG_COUNT) == []


def test_every_parser_finds_foreign_urls_in_the_playlists_as_received():
    texts = [generate_confusing(seed) for seed in range(COUNT)]
    found = read_in_node(texts)

    for reader in READERS:
        misled = sum(any(map(find_stranger, read[reader])) for read in found)
        assert misled > COUNT / 5, reader
        assert sum(bool(read[reader]) for read in found) > COUNT / 2, reader
    assert sum(any(map(find_stranger, read_with_m3u8(text))) for text in texts) > COUNT / 10


async def test_ffmpeg_requests_a_foreign_url_in_a_playlist_as_received(component):
    component("ffmpeg")
    text = (
        "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nhttp://evil.example/x.ts\n#EXT-X-ENDLIST\n"
    )

    assert any(map(find_stranger, await read_with_ffmpeg(text)))
