"""The loads to run, and the comparisons between them: one line each."""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from bench.upstream import PLAYLIST_SIZES

Figure = Literal["cpu", "throughput", "p99", "seconds", "bytes"]

PLAYLIST_KINDS = ("vod", "live")
# For PLAYLIST_SIZES
FIRST_SIGHT_TARGETS = ("<= 2.0", "<= 1.0", "<= 0.8")
SEEN_BEFORE_TARGETS = ("<= 2.5", "<= 3", "<= 6")
LIVE_VIEWERS, RELOAD_SECONDS, MAX_P99_SECONDS = 3000, 2.0, 0.1
COMPARE: dict[str, Callable[[float, float], bool]] = {"<=": operator.le, ">=": operator.ge}


@dataclass(frozen=True, slots=True)
class Load:
    """A load: the server that it goes to, its requests, and its connections."""

    server: str
    requests: str
    connections: int = 64
    period: float = 0  # seconds between the requests of a connection; 0: no pause


@dataclass(frozen=True, slots=True)
class Row:
    """A figure of one load, divided by the same figure of a baseline."""

    name: str
    figure: Figure
    measured: str  # a key of LOADS, or another name in the figures
    baseline: str
    target: str = ""  # such as "<= 1.4"; empty if there is none

    def is_met(self, ratio: float) -> bool | None:
        """Return whether a ratio meets the target; None if there is no target."""
        if not self.target:
            return None
        sign, _, bound = self.target.partition(" ")
        return COMPARE[sign](ratio, float(bound))


# Loads that are compared run directly after each other.
LOADS = {
    "play, distinct tokens": Load("edge", "plays"),
    "one call": Load("one-call", "plays"),
    "play, one token": Load("edge", "plays with one token"),
    "one call again": Load("one-call", "plays"),
    "as in the guides": Load("guides", "plays"),
    "bare 302": Load("redirect", "plays"),
    "secure_link": Load("secure-link", "signed links"),
    "play, 1 connection": Load("edge", "plays", 1),
    "one call, 1 connection": Load("one-call", "plays", 1),
    "play, 512 connections": Load("edge", "plays", 512),
    "one call, 512 connections": Load("one-call", "plays", 512),
    "/auth, repeated": Load("operator port", "auth requests, repeated"),
    "bare 204": Load("no-content", "auth requests, repeated"),
    "/auth, distinct tokens": Load("operator port", "auth requests"),
    **{
        name: load
        for count in PLAYLIST_SIZES
        for kind in PLAYLIST_KINDS
        for name, load in (
            (f"{kind} of {count}, first sight", Load("edge", f"relayed fresh{kind} of {count}")),
            (f"{kind} of {count}, hls-proxy", Load("hls-proxy", f"encoded fresh{kind} of {count}")),
            (f"{kind} of {count}, seen before", Load("edge", f"relayed {kind} of {count}")),
            (f"{kind} of {count}, passed", Load("playlist", f"passed {kind} of {count}")),
        )
    },
    "live viewers": Load(
        "edge", "relayed movinglive of 10", connections=LIVE_VIEWERS, period=RELOAD_SECONDS
    ),
    "relayed segments": Load("nginx", "relayed segments", 8),
    "plain proxy_pass": Load("plain nginx", "segments", 8),
    "relayed segments again": Load("nginx", "relayed segments again", 8),
}

ROWS = (
    Row("(b) one call / itself: the measurement noise", "cpu", "one call again", "one call"),
    Row("play, distinct tokens: CPU / (b) one call", "cpu", "play, distinct tokens", "one call", "<= 1.4"),
    Row("play, one token: CPU / (b) one call", "cpu", "play, one token", "one call", "<= 1.25"),
    Row("play: throughput / (b) one call", "throughput", "play, distinct tokens", "one call"),
    Row("play: throughput / (c) as in the guides", "throughput", "play, distinct tokens", "as in the guides", ">= 10"),
    Row("play: CPU / (c) as in the guides", "cpu", "play, distinct tokens", "as in the guides"),
    Row("play: throughput / (a) bare 302", "throughput", "play, distinct tokens", "bare 302"),
    Row("play: throughput / (d) nginx secure_link", "throughput", "play, distinct tokens", "secure_link"),
    Row("play, 1 connection: p99 / (b)", "p99", "play, 1 connection", "one call, 1 connection"),
    Row("play, 64 connections: p99 / (b)", "p99", "play, distinct tokens", "one call", "<= 1.4"),
    Row("play, 512 connections: p99 / (b)", "p99", "play, 512 connections", "one call, 512 connections"),
    Row("/auth, repeated: throughput / (a) bare 204", "throughput", "/auth, repeated", "bare 204", ">= 0.6"),
    Row("/auth, repeated: CPU / (a) bare 204", "cpu", "/auth, repeated", "bare 204"),
    Row("/auth, distinct tokens: throughput / (a) bare 204", "throughput", "/auth, distinct tokens", "bare 204", ">= 0.4"),
    Row("/auth, distinct tokens: CPU / (a) bare 204", "cpu", "/auth, distinct tokens", "bare 204"),
    *(
        row
        for kind in PLAYLIST_KINDS
        for count, first, before in zip(PLAYLIST_SIZES, FIRST_SIGHT_TARGETS, SEEN_BEFORE_TARGETS, strict=True)
        for row in (
            Row(f"relayed {kind}, {count} segments, first sight: CPU / (e) hls-proxy", "cpu", f"{kind} of {count}, first sight", f"{kind} of {count}, hls-proxy", first),
            Row(f"relayed {kind}, {count} segments, seen before: CPU / passed on unchanged", "cpu", f"{kind} of {count}, seen before", f"{kind} of {count}, passed", before),
        )
    ),
    Row(f"{LIVE_VIEWERS:,} relayed live viewers, a reload every {RELOAD_SECONDS:g} s: responses / due", "throughput", "live viewers", "live bounds", ">= 0.95"),
    Row(f"{LIVE_VIEWERS:,} relayed live viewers: p99 / {MAX_P99_SECONDS:g} s", "p99", "live viewers", "live bounds", "<= 1"),
    Row("relayed 1 MB segments: throughput / plain proxy_pass", "throughput", "relayed segments", "plain proxy_pass", ">= 0.95"),
    Row("relayed 1 MB segments: CPU / plain proxy_pass", "cpu", "relayed segments", "plain proxy_pass"),
    Row("the same, cached by nginx: throughput / plain proxy_pass", "throughput", "relayed segments again", "plain proxy_pass", ">= 0.95"),
    Row("cold start: to the first play / (b)", "seconds", "cold edge", "cold one call"),
)  # fmt: skip


def memory_rows(viewers: tuple[int, ...]) -> list[Row]:
    """Return a row for each number of viewers after which memory is measured."""
    name = "memory, {:,} distinct viewers: growth / documented bound"
    return [Row(name.format(n), "bytes", f"grown by {n}", "bound", "<= 1") for n in viewers]
