"""Inputs with which a fuzzer or a reviewer found a bug, by target; each must stay fixed."""

ROWS: list[tuple[str, bytes]] = [
    # A value that goes into a seal and is not UTF-8. Found by review and fixed before any fuzzing.
    (
        "playlist-relayed",
        b'#EXTM3U\n#EXT-X-DEFINE:NAME="a",VALUE="\xff"\n#EXT-X-STREAM-INF:BANDWIDTH=1\na\n',
    ),
    # The same in the name of a variable.
    (
        "playlist-relayed",
        b'#EXTM3U\n#EXT-X-DEFINE:NAME="\xd5v",VALUE="w"\n#EXT-X-STREAM-INF:BANDWIDTH=1\na\n',
    ),
]
