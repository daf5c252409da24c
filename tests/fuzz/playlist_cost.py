"""Measure the CPU time and memory of generated playlists, and print the most expensive ones.

PYTHONPATH=tests python -m fuzz.playlist_cost --small 1000000 --large 1000
"""

import argparse
import heapq
import multiprocessing
import re
import sys
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from functools import partial
from operator import itemgetter
from pathlib import Path
from random import Random
from typing import NamedTuple, TypeVar

from hls.relayed import build_place

from fuzz.targets import BASE, HOSTS
from proxy.cli.serve import freeze_startup_objects
from proxy.domain.reasons import Refusal
from proxy.hls.compile_template import compile_template
from proxy.hls.lint.check import check
from proxy.hls.lint.text import MAX_ATTRIBUTES, MAX_BYTES, MAX_LINES, MAX_LISTS, MAX_TAGS
from proxy.hls.model import PlaylistUnreadable, read_model
from proxy.hls.playlist_writer import write_playlist
from proxy.hls.tags import TAGS

T = TypeVar("T")
PLACE = build_place(BASE)
SMALL_BYTES = 4096
FIRST_LINES = ("#EXTM3U\n", "#EXTM3U\n#EXT-X-TARGETDURATION:4\n", "#EXTM3U\r#EXT-X-VERSION:12\r")
EXTM3U, MEDIA = FIRST_LINES[:2]
SEGMENT = "#EXTINF:4,\n"
VARIABLE = f'#EXT-X-DEFINE:NAME="v",VALUE="{"x" * 2040}"\n'
USES = "{$v}" * 4
LIST_OF_USES = ",".join(f'A{n}="{USES}"' for n in range(150))

# Patterns by name: the part after \f is repeated until the playlist is full; {n} counts up.
HOSTILE: dict[str, str] = {
    "ordinary": MEDIA + "\f" + SEGMENT + "segment-{n}.ts\n",
    "newlines": EXTM3U + "\f\n",
    "comments": EXTM3U + "\f#" + "x" * 30 + "\n",
    "one name": MEDIA + "\f" + SEGMENT + "a\n",
    "dates": MEDIA + '\f#EXT-X-DATERANGE:ID="{n}",START-DATE="2020-01-01T00:00:00Z",X-A="b"\n',
    "one date": MEDIA + '\f#EXT-X-DATERANGE:ID="a",START-DATE="2020-01-01T00:00:00Z",X-A="b"\n',
    "attributes": MEDIA + "\f#EXT-X-MAP:" + ",".join(f'A{n}="b"' for n in range(450)) + "\n",
    "one long list": MEDIA + "#EXT-X-MAP:\f" + 'A{n}="b",',
    "keys": MEDIA + '\f#EXT-X-KEY:METHOD=AES-128,URI="https://a.dmcdn.net/{n}"\n' + SEGMENT + "a\n",
    "key formats": MEDIA + '\f#EXT-X-KEY:METHOD=A,URI="k",KEYFORMAT="{n}"\n' + SEGMENT + "a\n",
    "keys alone": MEDIA + '\f#EXT-X-KEY:METHOD=AES-128,URI="{n}"\n',
    "maps": MEDIA + '\f#EXT-X-MAP:URI="{n}"\n',
    "parts": MEDIA + '#EXT-X-PART-INF:PART-TARGET=0.3\n\f#EXT-X-PART:DURATION=0.3,URI="{n}.ts"\n',
    "imports": MEDIA + '\f#EXT-X-DEFINE:IMPORT="v{n}"\n',
    "uses": MEDIA + '#EXT-X-DEFINE:NAME="v",VALUE="x"\n\f' + SEGMENT + "{$v}" * 1000 + ".ts\n",
    "filled URIs": MEDIA + VARIABLE + "\f" + SEGMENT + USES + "\n",
    "filled keys": MEDIA + VARIABLE + f'\f#EXT-X-KEY:METHOD=AES-128,URI="{USES}"\n',
    "filled parts": MEDIA + VARIABLE + f'\f#EXT-X-PART:DURATION=1,BYTERANGE="1@1",URI="{USES}"\n',
    "filled dates": MEDIA + VARIABLE + f'\f#EXT-X-DATERANGE:ID="{{n}}",{LIST_OF_USES}\n',
    "filled variants": EXTM3U + VARIABLE + f"\f#EXT-X-STREAM-INF:BANDWIDTH=1,{LIST_OF_USES}\na\n",
    "filled names": MEDIA
    + f'#EXT-X-DEFINE:NAME="{"v" * 2000}",VALUE="a"\n\f{{$'
    + "v" * 2000
    + "}\n",
    "filled slashes": MEDIA + '#EXT-X-DEFINE:NAME="v",VALUE="' + "a/" * 1020 + f'"\n\f{USES}/..\n',
    "filled dots": MEDIA + '#EXT-X-DEFINE:NAME="v",VALUE="' + "./" * 1020 + f'"\n\f{USES}\n',
    "slashes": MEDIA + "\f" + SEGMENT + "a/" * 2000 + "..\n",
    "names alone": MEDIA + "\f{n}\n",
    "names upwards": MEDIA + "\f../{n}\n",
    "names of other hosts": MEDIA + "\f//a.dmcdn.net/{n}\n",
    "names with colons": MEDIA + "\f2026-01-01T00:00:00:{n}\n",
    "steering": EXTM3U + "\f#EXT-X-CONTENT-STEERING:" + ",".join(['SERVER-URI="2:2"'] * 40) + "\n",
    "long seals": MEDIA + VARIABLE + '\f#EXT-X-DATERANGE:ID="{n}",X-ASSET-URI="{n}"\n',
    "variants without a list": EXTM3U + VARIABLE + "\f#EXT-X-STREAM-INF\n{n}.m3u8\n",
    "vertical tabs": MEDIA + "\f#EXTINF:4,\x0ba\x0b",
    "line separators": MEDIA + "\f#EXTINF:4,\u2028a\u2028",
    "bad parts": MEDIA + '#EXT-X-DEFINE:QUERYPARAM="a"\n\f'
    '#EXT-X-PART:URI="../{n}",DURATION="x",BYTERANGE="y",GAP=é\n../{n}/.ts\n',
    "undefined": MEDIA + "\f" + SEGMENT + "{$w{n}}.ts\n",
    "renditions": EXTM3U + '\f#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="g{n}",NAME="n",URI="{n}.m3u8"\n',
    "variants": EXTM3U + '\f#EXT-X-STREAM-INF:BANDWIDTH={n},AUDIO="g{n}",VIDEO="g"\nv{n}.m3u8\n',
    "session data": EXTM3U + '\f#EXT-X-SESSION-DATA:DATA-ID="{n}",VALUE="x"\n',
    "session keys": EXTM3U + '\f#EXT-X-SESSION-KEY:METHOD=AES-128,URI="{n}"\n',
    "commas": MEDIA + "\f#EXT-X-KEY:" + "," * 4000 + "\n",
    "equals": MEDIA + "\f#EXT-X-KEY:" + "a =" * 1300 + "\n",
    "quotes": MEDIA + "\f#EXT-X-KEY:" + 'a="' * 1300 + "\n",
    "braces": MEDIA + "\f" + SEGMENT + "{$" * 1900 + "\n",
    "bit rates alone": MEDIA + "\f#EXT-X-BITRATE:1\n",
    "ranges": MEDIA + "\f#EXT-X-BYTERANGE:{n}@{n}\n" + SEGMENT + "a.ts\n",
    "times": MEDIA + "\f#EXT-X-PROGRAM-DATE-TIME:2020-01-01T00:00:00.000Z\n" + SEGMENT + "a.ts\n",
    "reports": MEDIA + '\f#EXT-X-RENDITION-REPORT:URI="{n}.m3u8",LAST-MSN=1\n',
    "dots": MEDIA + "\f" + SEGMENT + "../" * 1300 + "a\n",
    "digits": MEDIA + "\f#EXTINF:" + "9" * 4000 + ",\na.ts\n",
    "names": MEDIA + "\f" + SEGMENT + "1a" * 2000 + "{n}.ts\n",
    "returns": MEDIA + "\f#EXTINF:4,\ra{n}\r",
    "skips": MEDIA + "\f#EXT-X-SKIP:SKIPPED-SEGMENTS=9999999999\n" + SEGMENT + "a.ts\n",
    "not utf-8": MEDIA + "\f" + SEGMENT + "\udcff\udcfe{n}\n",
    "controls": MEDIA + "\f" + SEGMENT + "\x01\u2028{n}\n",
}
VALUES = (
    *('"{n}.ts"', '"https://a.dmcdn.net/{n}?a=b#c"', "{n}", "0.5", "4", "YES", "NO", "NONE", '"g"'),
    *('"g{n}"', "AES-128", "AUDIO", "VIDEO", "PART", "MAP", '"2026-01-01T00:00:00.000Z"', "0xAB"),
    *('"10@{n}"', "10@5", "640x360", '"avc1.4d401f,mp4a.40.2"', '"{$v}"', '"{$w{n}}"', '"', ""),
    *('"a"b', '" "', '"é"', '"\udcff"', "1e999", "-1", '"../../{n}"', '"a,b=c"', '"\x01"'),
)
NAMES = [*sorted({attr.name for tag in TAGS.values() for attr in tag.attrs}), "VALUE", "X-A", "a"]
LINES = (
    *("{n}.ts", "https://a.dmcdn.net/{n}.ts?a=b", "../a/{n}.ts", "a", "", " ", "# {n}", "#EXT"),
    *("#EXTINF:4,", "#EXTINF:4.5,title {n}", "#EXTINF:x", "#EXT-X-NEW:A={n}", "{$v}/{n}", "\udcff"),
    *("#EXT-X-ENDLIST", "#EXTM3U", "#EXT-X-BYTERANGE:10@{n}", '#EXT-X-DEFINE:NAME="v",VALUE="w"'),
)  # fmt: skip
ENDINGS = ("\n", "\n", "\n", "\r\n", "\r", ",", "")


def fill(pattern: str, size: int) -> bytes:
    """Return a playlist: the pattern up to \\f, then the rest of it repeated up to `size` bytes."""
    head, _, unit = pattern.partition("\f")
    # Stay below the limits on counts: a playlist above them is refused without being parsed.
    lines = len(re.findall("\r\n|\r|\n", unit))
    lists = sum("=" in line for line in re.split("[\r\n]+", unit))
    counts = ((MAX_LINES - 20, lines), (MAX_LISTS, lists), (MAX_ATTRIBUTES, unit.count("=")))
    tag_limits = [limit for tag, limit in MAX_TAGS.items() if f"#{tag}:" in unit]
    max_repeats = min([size, *tag_limits, *(limit // count for limit, count in counts if count)])
    pieces, room, n = [head], size - len(head), 0
    while room > 0 and n < max_repeats:
        piece = unit.replace("{n}", str(n))
        pieces.append(piece)
        room -= len(piece.encode(errors="surrogateescape"))
        n += 1
    return "".join(pieces).encode(errors="surrogateescape")[:size]


def generate(seed: int, size: int) -> bytes:
    """Return a playlist that repeats a few random lines; equal seeds give equal playlists."""
    random = Random(seed)
    units = [_generate_unit(random) for _ in range(random.choice((1, 1, 2, 3, 8)))]
    return fill(f"{random.choice(FIRST_LINES)}\f{''.join(units)}", random.randint(size // 2, size))


def _generate_unit(random: Random) -> str:
    """Return one random line with its line ending."""
    if random.random() < 0.4:
        return random.choice(LINES) + random.choice(ENDINGS)
    tag = random.choice(tuple(TAGS.values()))
    if not tag.attrs:
        return f"#{tag.name}:{random.choice(VALUES)}{random.choice(ENDINGS)}"
    known = [attr.name for attr in tag.attrs]
    names = [random.choice(known if random.random() < 0.8 else NAMES) for _ in known]
    pairs = [f"{name}={random.choice(VALUES)}" for name in names]
    separator = random.choice((",", ",", ",", ", ", ",,"))
    pairs *= random.choice((1, 1, 1, 1, 20))
    return f"#{tag.name}:{separator.join(pairs)}{random.choice(ENDINGS)}"


class Cost(NamedTuple):
    """What processing a playlist costs."""

    total: float  # CPU seconds
    slice: float  # CPU seconds of the longest slice of rewriting it
    memory: float = 0  # MiB by which the process grew; 0: not measured


def measure(body: bytes) -> Cost:
    """Return the cost of a playlist in the more expensive way in which the edge processes it.

    The edge either checks the playlist and reads its model, or rewrites it.
    """
    started = time.process_time()
    report = check(body, base=BASE, why_not=_explain_refusal)
    if report.is_checked:
        with suppress(PlaylistUnreadable):
            read_model(report.text, BASE)
    modelled = time.process_time()
    slices: list[float] = []
    with suppress(Refusal):
        document = time_slices(write_playlist(body, base=BASE, hosts=HOSTS), slices)
        template = time_slices(compile_template(document, BASE, has_limits=False), slices)
        time_slices(template.render(PLACE), slices)
    return Cost(max(modelled - started, sum(slices)), max(slices))


def time_slices(work: Generator[None, None, T], slices: list[float]) -> T:
    """Run a computation that yields; add the CPU seconds of each of its slices to a list."""
    while True:
        started = time.process_time()
        try:
            next(work)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            slices.append(time.process_time() - started)


def _explain_refusal(url: str) -> str:
    """Return why a URL is refused, or an empty string."""
    try:
        HOSTS.check(url)
    except Refusal as refusal:
        return refusal.detail
    return ""


def measure_growth(build: Callable[[], bytes]) -> Cost:
    """Return the least cost of three runs, and the growth of this process in the first one."""
    body = build()
    Path("/proc/self/clear_refs").write_text("5")  # sets VmHWM, the peak, to VmRSS
    before = read_mib("VmRSS")
    costs = [measure(body)]
    growth = read_mib("VmHWM") - before
    costs += [measure(body) for _ in range(2)]
    return Cost(min(cost.total for cost in costs), min(cost.slice for cost in costs), growth)


def read_mib(field: str) -> float:
    """Return a field of the memory status of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024


def print_worst(name: str, costs: dict[int, Cost], keep: int = 3) -> None:
    """Print the most expensive seeds, and the seed whose playlist takes most memory."""
    for seed, cost in heapq.nlargest(keep, costs.items(), key=lambda item: item[1].total):
        sys.stdout.write(f"{name}: seed {seed}: {cost.total * 1000:.1f} ms\n")
    for seed, cost in heapq.nlargest(1, costs.items(), key=lambda item: item[1].memory):
        sys.stdout.write(f"{name}: seed {seed}: {cost.memory:.0f} MiB\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(prog="fuzz.playlist_cost", description=__doc__)
    parser.add_argument(
        "--small", type=int, default=1000, help=f"number of playlists up to {SMALL_BYTES} bytes"
    )
    parser.add_argument(
        "--large", type=int, default=10, help=f"number of playlists up to {MAX_BYTES} bytes"
    )
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    options = parser.parse_args()
    freeze_startup_objects()  # as `playgate serve` does
    small_seeds = range(options.first, options.first + options.small)
    suspects = heapq.nlargest(
        30, small_seeds, key=lambda seed: measure(generate(seed, SMALL_BYTES)).total
    )
    builds = [partial(generate, seed, SMALL_BYTES) for seed in suspects]
    large_seeds = range(options.first, options.first + options.large)
    builds += [partial(generate, seed, MAX_BYTES) for seed in large_seeds]
    builds += [partial(fill, pattern, MAX_BYTES) for pattern in HOSTILE.values()]
    # Each in a process of its own: memory that an earlier playlist left would be used again.
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        costs = pool.map(measure_growth, builds, chunksize=1)
    print_worst("small", dict(zip(suspects, costs, strict=False)))
    print_worst("large", dict(zip(large_seeds, costs[len(suspects) :], strict=False)))
    hostile = dict(zip(HOSTILE, costs[-len(HOSTILE) :], strict=True))
    for name, cost in sorted(hostile.items(), key=itemgetter(1)):
        sys.stdout.write(
            f"{name}: {cost.total * 1000:.0f} ms, longest slice {cost.slice * 1000:.1f} ms, "
            f"{cost.memory:.0f} MiB\n"
        )


if __name__ == "__main__":
    main()
