"""References are resolved as Chromium resolves them."""

import re
from random import Random

from proxy.hls.resolve import UNSAFE, UnresolvableError, resolve_uri

BASES = (
    "https://cdn.example/a/b/m.m3u8",
    "https://cdn.example/a//b/./m.m3u8?x=1/2#f",
    "https://cdn.example",
    "https://cdn.example:8443/sec2(aB-_9)/v;p=1/m.m3u8?sig=a%2Fb",
    "http://cdn.example/%7Ea/..%2f/m.m3u8",
)
PARTS = (
    *("", ".", "..", "%2e", "%2E%2e", "a", "b.ts", "c d.ts", "é", "日本", "v;x=1", "x=1,2~3+4:5@6!", "%zz", "%41", "a:b", "..;", "...", "\\", "~", "(1)", "[1]"),
    *("{$v}", "|", "^", "`", "<>", '"', "'", "\t", "\x7f", "\u200b", "😀"),
)  # fmt: skip
STARTS = ("", "", "", "/", "//", "//other.example/", "https://other.example/", "HTTPS://Other.Example:443/", "https:", "https:/", "?", "#", "./", "../", " ", "\\", "/\\")  # fmt: skip
ENDS = ("", "", "", "?", "?a=b c", "?é", "?a=/../b", "#f", "?#", "/", "?x=[1]{2}|'", " ")
COUNT = 3000


def generate(seed: int) -> tuple[str, str]:
    """Return a base URL and a reference."""
    random = Random(seed)
    path = "/".join(random.choices(PARTS, k=random.randint(0, 4)))
    return random.choice(BASES), random.choice(STARTS) + path + random.choice(ENDS)


def resolve(base: str, reference: str) -> str | None:
    try:
        return resolve_uri(base, reference)
    except UnresolvableError:
        return None


async def test_references_are_resolved_as_in_chromium(page):
    """Characters that Chromium leaves in a URL although RFC 3986 forbids them are encoded, too."""
    pairs = [generate(seed) for seed in range(COUNT)]
    found = await page.evaluate(
        """pairs => pairs.map(([base, reference]) => {
          try { const url = new URL(reference, base); url.hash = ""; return url.href; } catch { return null; }
        })""",
        pairs,
    )
    different = []
    for (base, reference), url in zip(pairs, found, strict=True):
        # Chromium allows a blank in a host name and encodes more in other schemes, unlike the standard.
        if url is not None and not re.match(r"https?://[a-z0-9.:-]+/", url):
            continue
        expected = None if url is None else UNSAFE.sub(encode, url)
        if resolve(base, reference) != expected:
            different.append((base, reference, resolve(base, reference), expected))

    assert different == []
    assert len(set(found)) > COUNT / 3


def encode(character) -> str:
    return "".join(f"%{byte:02X}" for byte in character[0].encode())
