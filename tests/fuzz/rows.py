"""Bytes that a fuzzer found something with, by target; each stays mended."""

ROWS: list[tuple[str, bytes]] = [
    # Bytes that are no UTF-8 in what goes into a seal: found by reading, and mended before.
    (
        "playlist-relayed",
        b'#EXTM3U\n#EXT-X-DEFINE:NAME="a",VALUE="\xff"\n#EXT-X-STREAM-INF:BANDWIDTH=1\na\n',
    ),
    # A variable's name, too.
    (
        "playlist-relayed",
        b'#EXTM3U\n#EXT-X-DEFINE:NAME="\xd5v",VALUE="w"\n#EXT-X-STREAM-INF:BANDWIDTH=1\na\n',
    ),
]
