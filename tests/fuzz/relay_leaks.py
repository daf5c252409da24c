"""Look for anything of the upstream in relayed playlists that contain URLs in every place.

PYTHONPATH=tests python -m fuzz.relay_leaks --count 1000000
"""

import argparse
import re
import sys
from random import Random

from hls.relayed import REFERENCE, build_place, list_paths, open_url, rewrite

from fuzz.targets import HOSTS
from proxy.domain.reasons import Refusal
from proxy.domain.variant_limits import NO_LIMITS, VariantLimits
from proxy.hls.tags import TAGS

HOST, FOLDER, SIGNATURE = "up7.dmcdn.net", "secret-folder-0123456789abcdef", "sigmark42"
BASE = f"https://{HOST}/{FOLDER}/video/m.m3u8?sec={SIGNATURE}"
# Each in lower case; a folder that short could be a name that counts.
SECRETS = (HOST, "dmcdn", FOLDER, SIGNATURE, "https:", "http:", "https%3a")
PLACE = build_place(BASE)

URLS = (
    *(f"https://{HOST}/{FOLDER}/a.m3u8?sec={SIGNATURE}", f"HTTPS://{HOST.upper()}/x", f"http://{HOST}/"),
    *(f"//{HOST}/{FOLDER}/1.ts", f"\\\\{HOST}\\x", f"/\\{HOST}/x", f"https:/{FOLDER}/x", f"https:\\{HOST}/a"),
    *(f"/{FOLDER}/1.ts?sec={SIGNATURE}", f"../{FOLDER}/1.ts", f"{FOLDER}/2.ts?sec={SIGNATURE}", f"x.ts?sec={SIGNATURE}"),
    *(f"https%3A%2F%2F{HOST}%2F{FOLDER}", f" https://{HOST}/a ", f"see https://{HOST}/a", f"\t//{HOST}/b"),
    *(f"data:text/plain,https://{HOST}/", f"skd://x?u=https://{HOST}/", f"ht\ttps://{HOST}/", f"{HOST}/{FOLDER}/x.mp4"),
    *(f"rtmp://{HOST}/live", f"blob:https://{HOST}/1", f"https://user:{SIGNATURE}@{HOST}/", "https://["),
    *(f"1.ts#https://{HOST}/", f'1.ts#EXT-X-MEDIA:URI="https://{HOST}/"', "seg-{n}.ts", "a b é.ts", "{$v}", "{$q}/1.ts"),
)  # fmt: skip
VALUES = (
    "1",
    "4.5",
    "YES",
    "NONE",
    "AES-128",
    "AUDIO",
    "0x12",
    "10@0",
    "2026-01-01T00:00:00Z",
    "",
    "é",
    "/DAl//8=",
)
QUOTES = (
    '"{}"',
    '"{}"',
    "{}",
    '"{}',
    '{}"',
    "'{}'",
    '"{}"x',
    '"a"{}',
    '"\\"{}"',
    "\ufeff{}",
    "{}\u2028b",
    "a{}",
)
SEPARATORS = (",", ",", ",", ", ", " ", ";", ",,", "\x0b", "")
ENDS = ("\n", "\n", "\n", "\r\n", "\r", "\u2028", "\x0b", " ")
UNKNOWN_TAGS = (
    "EXT-X-VENDOR",
    "EXT-X-CUE-OUT",
    "EXTVLCOPT",
    "EXTIMG",
    "EXT-X-\u00e9",
    "EXT",
    "EXTINFO",
)
UNKNOWN_NAMES = (
    "X-A",
    "X-URI",
    "uri",
    "X-COM-VENDOR-LINK",
    "URI",
    "a b",
    "HREF",
    "VALUE",
    "NAME",
    "QUERYPARAM",
    "IMPORT",
)
NAMES = sorted({attr.name for tag in TAGS.values() for attr in tag.attrs})
COMMENTS = (
    "# {}",
    "## {}",
    "#{}",
    "##EXT-X-MEDIA:URI={}",
    "<!-- {} -->",
    " # {}",
    "#EXT{}",
    "#EXTM3U {}",
)


def generate(seed: int) -> str:
    """Return a playlist with URLs in any place; equal seeds give equal playlists."""
    random = Random(seed)
    is_media = random.random() < 0.6
    lines = ["#EXTM3U" + random.choice(ENDS)]
    if random.random() < 0.3:
        lines.append(
            '#EXT-X-DEFINE:QUERYPARAM="sec"\n#EXT-X-DEFINE:NAME="v",VALUE="https://' + HOST + '"\n'
        )
    if is_media:
        lines.append(
            "#EXT-X-TARGETDURATION:6\n" + random.choice(("", "#EXT-X-PLAYLIST-TYPE:VOD\n"))
        )
    for n in range(random.randint(1, 8)):
        lines.append(_generate_line(random).replace("{n}", str(n)))
        lines.append("#EXTINF:4,\n" if is_media else "#EXT-X-STREAM-INF:BANDWIDTH=1\n")
        lines.append(random.choice(("1.ts", "v.m3u8", random.choice(URLS))) + random.choice(ENDS))
    lines.append(
        "#EXTINF:4,\nlast.ts\n" if is_media else "#EXT-X-STREAM-INF:BANDWIDTH=1\nlast.m3u8\n"
    )
    return "".join(lines)


def _generate_line(random: Random) -> str:
    kind, url = random.random(), random.choice(URLS)
    if kind < 0.15:
        return random.choice(COMMENTS).format(url) + random.choice(ENDS)
    if kind < 0.3:
        return f"#EXTINF:{random.choice(('4,', '4', '', '-1,', 'x,'))}{url}{random.choice(ENDS)}"
    tag = random.choice([*TAGS, *UNKNOWN_TAGS])
    if kind < 0.4:
        return f"#{tag}:{random.choice(QUOTES).format(url)}{random.choice(ENDS)}"
    known = [attr.name for attr in TAGS[tag].attrs] if tag in TAGS else []
    pairs = []
    for _ in range(random.randint(1, 6)):
        name = (
            random.choice(known or NAMES)
            if random.random() < 0.7
            else random.choice((*UNKNOWN_NAMES, url))
        )
        value = random.choice(URLS) if random.random() < 0.5 else random.choice(VALUES)
        pairs.append(f"{name}={random.choice(QUOTES).format(value)}")
    return f"#{tag}:{random.choice(SEPARATORS).join(pairs)}{random.choice(ENDS)}"


def find_leak(seed: int) -> str | None:
    """Return a relayed playlist that reveals something, or leads past the relay; else None."""
    limits = VariantLimits(max_bandwidth=10) if seed % 5 == 0 else NO_LIMITS
    try:
        relayed = rewrite(generate(seed), base=BASE, hosts=HOSTS, place=PLACE, limits=limits)
    except Refusal:
        return None
    lines = relayed.splitlines()
    is_canonical = all(
        line.rfind("#") <= 0 or re.search(r"#[a-z0-9=&._-]+\"?", line) for line in lines
    )
    paths = list_paths(relayed.replace("unavailable", ""), PLACE)
    try:
        is_sealed = all(HOSTS.check(open_url(path).url) for path in paths)
    except Refusal:
        is_sealed = False
    is_clean = not any(secret in relayed.lower() for secret in SECRETS)
    only_known = "//" not in re.sub(r"SCTE35[^,]*|/DAl//8=|skd://x", "", REFERENCE.sub("", relayed))
    return None if is_canonical and is_sealed and is_clean and only_known else relayed


def main() -> None:
    parser = argparse.ArgumentParser(prog="fuzz.relay_leaks", description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="number of playlists")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    options = parser.parse_args()
    relayed = 0
    for seed in range(options.first, options.first + options.count):
        if (leak := find_leak(seed)) is not None:
            sys.stdout.write(f"seed {seed}:\n{generate(seed)!r}\nbecomes\n{leak}\n")
            sys.exit(1)
        relayed += 1
    sys.stdout.write(f"no leak in {relayed} playlists\n")


if __name__ == "__main__":
    main()
