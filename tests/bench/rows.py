"""What is measured, and what is compared with what: one line each."""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from bench.upstream import SIZES

Figure = Literal["cpu", "throughput", "p99", "seconds", "bytes"]

COMPARE: dict[str, Callable[[float, float], bool]] = {"<=": operator.le, ">=": operator.ge}


@dataclass(frozen=True, slots=True)
class Load:
    """A run of load: of which requests, at which server, over how many connections."""

    server: str
    requests: str
    connections: int = 64


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of one thing, as a multiple of the same figure of another."""

    name: str
    figure: Figure
    of: str
    beside: str
    target: str = ""  # such as "<= 1.4"; empty where there is none

    def is_met(self, ratio: float) -> bool | None:
        """Say whether a ratio is within the target; None without one."""
        if not self.target:
            return None
        sign, _, bound = self.target.partition(" ")
        return COMPARE[sign](ratio, float(bound))


# In this order, so that what is compared runs one after the other.
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
    "/auth, repeated": Load("operator port", "questions, repeated"),
    "bare 204": Load("no-content", "questions, repeated"),
    "/auth, distinct tokens": Load("operator port", "questions"),
    **{
        name: load
        for count in SIZES
        for name, load in (
            (f"relayed playlist of {count}", Load("edge", f"relayed playlists of {count}")),
            (f"passed playlist of {count}", Load("playlist", f"passed playlists of {count}")),
        )
    },
    "relayed segments": Load("nginx", "relayed segments", 8),
    "plain proxy_pass": Load("plain nginx", "segments", 8),
    "relayed segments again": Load("nginx", "relayed segments again", 8),
}

ROWS = (
    Row("(b) beside itself: the noise", "cpu", "one call again", "one call"),
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
        Row(f"relayed playlist, {count} segments: CPU / passed on as it is", "cpu", f"relayed playlist of {count}", f"passed playlist of {count}")
        for count in SIZES
    ),
    Row("relayed 1 MB segments: throughput / plain proxy_pass", "throughput", "relayed segments", "plain proxy_pass", ">= 0.95"),
    Row("relayed 1 MB segments: CPU / plain proxy_pass", "cpu", "relayed segments", "plain proxy_pass"),
    Row("the same, kept by nginx: throughput / plain proxy_pass", "throughput", "relayed segments again", "plain proxy_pass", ">= 0.95"),
    Row("cold start: to the first play / (b)", "seconds", "cold edge", "cold one call"),
)  # fmt: skip


def memory_rows(viewers: tuple[int, ...]) -> list[Row]:
    """Return a row for each number of viewers after which an edge's memory is looked at."""
    name = "memory, {:,} distinct viewers: growth / documented bound"
    return [Row(name.format(n), "bytes", f"grown by {n}", "bound", "<= 1") for n in viewers]
